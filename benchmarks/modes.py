"""Steps of each stage in float32 and bfloat16, with and without XLA: a matter of the device more than of the code."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from benchmarks import stage_step, timing
from mmsynth_tf import constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.storage.records import Record


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a step is computed: a name of `precision.policy`, and whether XLA compiles it."""

    precision: str
    xla: bool


PLAIN = Mode("float32", False)
MODES = (PLAIN, Mode("float32", True), Mode("mixed_bfloat16", False), Mode("mixed_bfloat16", True))


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times the steps of all stages."""
    for stage in constants.STAGES:
        yield from times(stage, prepare(stage, config), rounds)


def prepare(stage: str, config: Config) -> dict[Mode, stage_step.Step]:
    """The step of a stage in each mode, compiled by a first call."""
    steps = {}
    for mode in MODES:
        own = tree.override(config, {"runtime.precision": mode.precision})
        batch = stage_step.one_batch(stage, own)
        steps[mode] = stage_step.Step(stage_step.model(stage, own), batch, jit_compile=mode.xla)
        steps[mode]()
    return steps


def times(stage: str, steps: Mapping[Mode, Callable[[], object]], rounds: int) -> Iterator[Record]:
    """A record for each mode, compared with the plain one."""
    seconds = timing.interleaved(steps, rounds)
    for mode, own in seconds.items():
        yield {
            "stage": stage,
            **dataclasses.asdict(mode),
            "milliseconds": 1e3 * own,
            "times_faster": seconds[PLAIN] / own,
        }
