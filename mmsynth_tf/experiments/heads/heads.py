"""Do maps that are made along the positions of a head form a head, as those of unseen patients do (beyond the paper)?

For each unseen patient and modality the structure stage makes a stack of maps: one code, at the positions of the
patient's slices. Made and unseen stacks are compared with the stacks of training patients, and by how much neighbouring
maps agree.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.heads.stacks import Stack, made_stacks, real_stacks
from mmsynth_tf.experiments.slice_sets import SliceSet
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.generation import map_filter
from mmsynth_tf.metrics import segmentation
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

INSIDE = "share of slices whose head area lies in the range of training patients"
POSITION_ERROR = "error of the position found"
HEADS_AGREE = "Dice of neighbouring heads"
MAPS_AGREE = "correlation of neighbouring maps"
UNSEEN, MADE = "unseen patients", "made heads"
# Training maps whose mean position is the position found for a map.
_NEAREST = 5


def run(request: Request) -> dict[str, report.Table]:
    """Measures the stacks of unseen patients, and as many made ones.

    Raises:
      UserError: the structure stage does not know positions, or no case shows enough of a head.
      PreparedDataError: a data set does not fit the structure stage, or its slices have no positions.
      LeakError: patients of the tested split were used in training, so they are not unseen.
    """
    gan, config = runs.load(constants.STRUCTURE, request.workdir)
    if not config.structure.choices.position:
        raise UserError(
            f"The structure stage in {request.workdir} does not know positions along the head. Train it with another "
            "formulation than paper."
        )
    for data in (request.real, request.training):
        prepared.require_same_geometry(data, config.data, f"the structure stage in {request.workdir}")
    leaks.refuse_leak(run_folder.trained_on(constants.STRUCTURE, request.workdir), request.real, request.split)
    study = Study("heads", request, (constants.STRUCTURE,), seeds=request.seeds)

    def measure(kind: str) -> Iterator[Record]:
        training, unseen = (
            real_stacks(SliceSet(data, split), config.structure_map)
            for data, split in ((request.training, "train"), (request.real, request.split))
        )
        measures = _Measures(training)
        for seed in (None,) if kind == UNSEEN else request.seeds:
            stacks = unseen if seed is None else made_stacks(gan, unseen, seed)
            yield from _rows(measures, kind, stacks, seed)

    rows = [row for kind in (UNSEEN, MADE) for row in study.part(kind.replace(" ", "_"), lambda k=kind: measure(k))]
    return study.finish(rows, {"table": _table(rows)})


class _Measures:
    """Measures stacks beside those of training patients.

    Args:
      training: stacks of training patients.
    """

    def __init__(self, training: Sequence[Stack]):
        self._profiles = [(stack.positions, _areas(stack)) for stack in training]
        self._positions = np.concatenate([stack.positions for stack in training])
        self._maps = map_filter.describe(np.concatenate([stack.structure for stack in training]))

    def of(self, stack: Stack) -> dict[str, float]:
        """The value of each measure."""
        profiles = np.stack([np.interp(stack.positions, *profile) for profile in self._profiles])
        areas, maps = _areas(stack), map_filter.describe(stack.structure)
        inside = (areas >= profiles.min(axis=0)) & (areas <= profiles.max(axis=0))
        nearest = np.argsort(-(maps @ self._maps.T), axis=1)[:, :_NEAREST]
        found = self._positions[nearest].mean(axis=1)
        neighbours = zip(stack.head[:-1], stack.head[1:], strict=True)
        return {
            INSIDE: float(inside.mean()),
            POSITION_ERROR: float(np.abs(found - stack.positions).mean()),
            # Two slices without a head agree on nothing.
            HEADS_AGREE: float(np.nanmean([segmentation.dice(*pair) for pair in neighbours])),
            MAPS_AGREE: float(np.sum(maps[:-1] * maps[1:], axis=1).mean()),
        }


def _areas(stack: Stack) -> np.ndarray:
    """Share of each slice that the head covers: float [Z]."""
    return stack.head.mean(axis=(1, 2))


def _rows(measures: _Measures, kind: str, stacks: Iterable[Stack], seed: int | None) -> Iterator[Record]:
    for stack in stacks:
        for metric, value in measures.of(stack).items():
            yield {"stacks": kind, "case": stack.case, "modality": stack.modality, "seed": seed} | {
                "metric": metric,
                "value": value,
            }


def _table(rows: Sequence[Record]) -> report.Table:
    body = []
    for metric in (INSIDE, POSITION_ERROR, HEADS_AGREE, MAPS_AGREE):
        unseen, made = (
            summarise([row["value"] for row in rows if row["metric"] == metric and row["stacks"] == kind])
            for kind in (UNSEEN, MADE)
        )
        body.append(
            [metric, *(f"{s.mean:.3f} ± {s.std:.3f}" for s in (unseen, made)), f"{made.mean / unseen.mean:.2f}"]
        )
    count = {
        kind: len({(r["case"], r["modality"], r["seed"]) for r in rows if r["stacks"] == kind})
        for kind in (UNSEEN, MADE)
    }
    caption = (
        f"Mean ± standard deviation over {count[UNSEEN]} stacks of unseen patients, one a modality, and {count[MADE]} "
        "made stacks, each of one code at the positions of an unseen one. The position found is the mean of the "
        f"{_NEAREST} training maps with the highest correlation; 1 is the height of the head. Range of training "
        "patients: smallest and largest head at the same position."
    )
    return report.Table(["measure", UNSEEN, MADE, "ratio"], body, caption)
