"""Steps of each stage beside the literal version of the same mathematics, and beside their own fastest convolution."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from benchmarks import literal_method, operations, stage_step, timing
from benchmarks.operations import Convolution
from mmsynth_tf import constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.storage.records import Record

# Number of different convolutions that are timed, those with the most operations first.
_CONVOLUTIONS = 4


@dataclasses.dataclass(frozen=True)
class Contest:
    """A stage's step and the literal one.

    Attributes:
      stage: its name.
      sums: how the sums over pairs are computed.
      model: what `step` trains.
      step: runs a step.
      literal: runs a literal step, if there is one.
      difference: largest relative difference of a loss or gradient norm in their first steps.
    """

    stage: str
    sums: str
    model: StageModel
    step: stage_step.Step
    literal: stage_step.Step | None = None
    difference: float | None = None

    @functools.cached_property
    def work(self) -> operations.Work:
        return operations.of_graph(self.step.graph, self.model)


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times the steps of all stages: of the synthesis stage with exact sums, with sampled pairs and as configured."""
    with literal_method.literal(config) as method:
        yield from _times_beside_literal(config, method, rounds)


def _times_beside_literal(config: Config, method: Config, rounds: int) -> Iterator[Record]:
    exact, sampled = (tree.override(method, {"synthesis.triples_per_slice": count}) for count in (0, 1))
    for stage in (constants.STRUCTURE, constants.SEGMENTATION):
        yield from times([prepare(stage, "", method)], rounds)
    batch, model = stage_step.one_batch(constants.SYNTHESIS, config), stage_step.model(constants.SYNTHESIS, config)
    yield from times(
        [
            prepare(constants.SYNTHESIS, "all pairs", exact),
            prepare(constants.SYNTHESIS, "sampled pairs", sampled),
            Contest(constants.SYNTHESIS, "sampled, the preset's own", model, stage_step.Step(model, batch)),
        ],
        rounds,
    )


def prepare(stage: str, sums: str, config: Config) -> Contest:
    """Compiles both steps and takes the first of each."""
    batch = stage_step.one_batch(stage, config)
    model = stage_step.model(stage, config)
    step, literal = (stage_step.Step(m, batch) for m in (model, stage_step.literal_model(stage, config, batch)))
    return Contest(stage, sums, model, step, literal, largest_difference(step(), literal()))


def times(contests: Sequence[Contest], rounds: int) -> Iterator[Record]:
    """A record for each; the first computes the sums over all pairs, literally as well."""
    alone = {c: _alone(c) for contest in contests for c in costliest(contest.work.convolutions)}
    steps = {f"step {c.sums}": c.step for c in contests}
    steps |= {f"literal {c.sums}": c.literal for c in contests if c.literal}
    seconds = timing.interleaved({**steps, **alone}, rounds)
    ceiling = max(3 * c.flops / seconds[c] for c in alone)
    literal_of_all = seconds[f"literal {contests[0].sums}"]
    for contest in contests:
        own, literal = seconds[f"step {contest.sums}"], seconds.get(f"literal {contest.sums}")
        yield {
            "stage": contest.stage,
            "sums": contest.sums,
            "milliseconds": 1e3 * own,
            "literal_milliseconds": literal and 1e3 * literal,
            "times_faster": literal and literal / own,
            "times_faster_than_literal_all_pairs": literal_of_all / own,
            "times_faster_at_the_ceiling": literal_of_all * ceiling / contest.work.flops,
            "largest_difference": contest.difference,
            "gflop": contest.work.flops / 1e9,
            "gflop_per_second": contest.work.flops / own / 1e9,
            "ceiling_gflop_per_second": ceiling / 1e9,
            "share_of_ceiling": contest.work.flops / own / ceiling,
        }


def largest_difference(values: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Largest relative difference between what two steps report."""
    return max(abs(value - others[name]) / max(abs(value), 1e-6) for name, value in values.items())


def costliest(convolutions: Sequence[Convolution]) -> list[Convolution]:
    """The different ones that take most operations altogether."""
    totals = {c: c.flops * convolutions.count(c) for c in convolutions}
    return sorted(totals, key=totals.get, reverse=True)[:_CONVOLUTIONS]


def _alone(convolution: Convolution) -> Callable[[], object]:
    """The convolution with both of its gradients, and nothing else."""
    shapes = convolution.inputs, convolution.filters, convolution.outputs
    inputs, filters, gradient = (tf.random.stateless_normal(shape, [0, i]) for i, shape in enumerate(shapes))
    stride = round(convolution.inputs[1] / convolution.outputs[1])

    @tf.function(autograph=False)
    def passes() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch([inputs, filters])
            outputs = tf.nn.conv2d(inputs, filters, stride, "SAME")
        return outputs, tape.gradient(outputs, [inputs, filters], gradient)

    def finished() -> None:
        passes()
        tf.test.experimental.sync_devices()  # GPUs compute on after a call has returned.

    return finished
