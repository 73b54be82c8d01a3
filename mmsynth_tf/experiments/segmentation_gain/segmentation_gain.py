"""Effect of pasted and synthetic slices on a joint segmenter of all modalities, with strong augmentation.

Five-fold cross-validation over patients: each patient is tested once, by segmenters
and generators that were not trained on it. A row, a fold and a seed form one unit.
Finished units are stored, and the tables are rewritten after each unit.
"""

import dataclasses
import logging
from collections.abc import Sequence

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import gain_tables, measuring
from mmsynth_tf.experiments.segmentation_gain.rows import ROWS, SYNTHETIC_ROWS, Row, kind_of, named
from mmsynth_tf.experiments.segmentation_gain.slices import Fold
from mmsynth_tf.experiments.segmentation_gain.units import Units
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.reports import report

NAME = "segmentation_gain"

_LOG = logging.getLogger(__name__)


def run(request: Request) -> dict[str, report.Table]:
    """Trains and scores the missing units, and compares the rows over patients.

    All labelled patients of `request.real` are assigned to folds, regardless of its splits. With `request.split`
    "validation" the patients of the next fold are tested, for design decisions.

    Raises:
      UserError: a row is unknown, there are too few patients, or as for `measuring.Inputs.of`.
      PreparedDataError: the data sets do not fit together.
      LeakError: in every fold, all sets of a row come from generators trained on patients that the fold keeps apart.
    """
    rows, inputs = _rows(request), measuring.Inputs.of(request)
    # Check for errors before hours of training.
    chosen, left_out = _plan(rows, inputs.folds, request)
    study = Study(NAME, dataclasses.replace(request, synthetic=()), ())
    units = Units(study.folder, inputs.identity())
    scores, tables = [], {}
    for seed in request.seeds:
        # Fold by fold, so that all rows of an interrupted study have the same patients.
        for fold in inputs.folds:
            for row in (row for row in rows if (row.name, fold.number) in chosen):
                scores += measuring.unit(units, row, fold, seed, chosen[row.name, fold.number], inputs)
                tables = study.finish(scores, {**gain_tables.tables(scores), **left_out})
                _LOG.info("Row %s, fold %d, seed %d is measured.", row.name, fold.number, seed)
    return tables


def _rows(request: Request) -> tuple[Row, ...]:
    if request.rows:
        return named(ROWS + SYNTHETIC_ROWS, request.rows)
    kinds = {kind_of(data) for data in request.synthetic}
    return ROWS + tuple(row for row in SYNTHETIC_ROWS if row.further in kinds)


def _plan(
    rows: Sequence[Row], folds: Sequence[Fold], request: Request
) -> tuple[dict[tuple[str, int], list[prepared.PreparedData]], dict[str, report.Table]]:
    """The sets of each row and fold that can be measured, and a table of the folds in which a row is left out.

    Raises:
      UserError: a row needs a set, and none of its kind is given.
      LeakError: no fold can use the sets of a row.
    """
    chosen, lacking = {}, []
    for row in rows:
        sets = [data for data in request.synthetic if kind_of(data) == row.further]
        if not sets and row not in ROWS:
            raise UserError(f"Row {row.name} needs a set of {row.further}; give it with --synthetic_data.")
        unseen = {fold.number: _unseen(sets, fold) for fold in folds}
        chosen.update({(row.name, number): found for number, found in unseen.items() if found or not sets})
        without = [number for number, found in unseen.items() if sets and not found]
        if len(without) == len(folds):
            raise leaks.LeakError(
                f"Row {row.name}: the generators of every set of {row.further} have seen test patients of each fold. "
                "Train generators without a fold's patients (datasets/build.py --fold), and give their set."
            )
        if without:
            lacking.append([row.name, ", ".join(map(str, without))])
            _LOG.warning("Row %s is left out in folds %s: every set has seen their test patients.", *lacking[-1])
    caption = "Left out: no set whose generators never saw the fold's test patients."
    return chosen, {"left_out": report.Table(["row", "folds"], lacking, caption)} if lacking else {}


def _unseen(sets: Sequence[prepared.PreparedData], fold: Fold) -> list[prepared.PreparedData]:
    """The sets whose generators were not trained on a patient that the fold keeps apart."""
    return [data for data in sets if not leaks.seen_patients([data.record]) & fold.kept_apart]
