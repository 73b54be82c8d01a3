"""How the synthesis stage's step grows with modalities, resolution and batch; the modality pairs are sampled."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import stage_step, timing
from mmsynth_tf import configs, constants
from mmsynth_tf.configs import Config
from mmsynth_tf.records import Record

# Values on an axis, each with its changes of the configuration.
Settings = Mapping[int, Mapping[str, Any]]


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times steps along each axis."""
    base = configs.override(config, {"synthesis.triples_per_slice": 1})
    for axis, settings in axes(base).items():
        yield from along(axis, settings, base, rounds)


def axes(base: Config) -> dict[str, Settings]:
    """What grows: for each axis its values, and the settings that each stands for."""
    size, batch = base.data.height, base.synthesis.batch_size
    return {
        "modalities": {n: {"data.modalities": tuple(f"modality_{i}" for i in range(n))} for n in (2, 4, 8)},
        "pixels": {s * s: {"data.height": s, "data.width": s} for s in (3 * size // 4, size, 3 * size // 2)},
        "batch_size": {b: {"synthesis.batch_size": b} for b in (batch // 2, batch, 2 * batch)},
    }


def along(axis: str, settings: Settings, base: Config, rounds: int) -> Iterator[Record]:
    """A record for each value; growth is linear at 1, and slower below."""
    steps = {value: _step(configs.override(base, changes)) for value, changes in settings.items()}
    seconds = timing.interleaved(steps, rounds)
    smallest = min(steps)
    for value, time in seconds.items():
        times_larger, times_longer = value / smallest, time / seconds[smallest]
        yield {
            "axis": axis,
            "value": value,
            "milliseconds": 1e3 * time,
            "times_larger": times_larger,
            "times_longer": times_longer,
            "growth": times_longer / times_larger,
        }


def _step(config: Config) -> Callable[[], object]:
    batch = stage_step.one_batch(constants.SYNTHESIS, config)
    return stage_step.Step(stage_step.model(constants.SYNTHESIS, config), batch)
