"""How the synthesis stage's step grows with modalities, resolution and batch; the modality pairs are sampled."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import stage_step, timing
from mmsynth_tf import constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.storage.records import Record

# Settings that differ from the base's, by their path.
Changes = tuple[tuple[str, Any], ...]


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times steps along each axis."""
    base = tree.override(config, {"synthesis.triples_per_slice": 1})

    @functools.cache  # The base is on every axis.
    def step(*changes: tuple[str, Any]) -> stage_step.Step:
        changed = tree.override(base, dict(changes))
        batch = stage_step.one_batch(constants.SYNTHESIS, changed)
        return stage_step.Step(stage_step.model(constants.SYNTHESIS, changed), batch)

    for axis, values in axes(base).items():
        yield from along(axis, {value: step(*changes) for value, changes in values.items()}, rounds)


def axes(base: Config) -> dict[str, dict[int, Changes]]:
    """What grows: for each axis its values in ascending order, with the changes that each stands for."""
    n, size, batch = base.data.num_modalities, base.data.height, base.synthesis.batch_size
    return {
        "modalities": {n // 2: _modalities(n // 2), n: (), 2 * n: _modalities(2 * n)},
        "pixels": {s * s: _size(s) if s != size else () for s in (3 * size // 4, size, 3 * size // 2)},
        "batch_size": {batch: (), **{b: (("synthesis.batch_size", b),) for b in (2 * batch, 4 * batch)}},
    }


def along(axis: str, steps: Mapping[int, Callable[[], object]], rounds: int) -> Iterator[Record]:
    """A record for each value; `growth` is 1 where time grows as the value does, less where it grows more slowly.

    Args:
      axis: its name.
      steps: by value, the smallest first.
      rounds: of timing.
    """
    seconds = timing.interleaved(steps, rounds)
    smallest = next(iter(steps))
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


def _modalities(count: int) -> Changes:
    return (("data.modalities", tuple(f"modality_{i}" for i in range(count))),)


def _size(pixels: int) -> Changes:
    return (("data.image_size", (pixels, pixels)),)
