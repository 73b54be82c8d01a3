"""Effect of pasted and synthetic slices on a joint segmenter of all modalities, with strong augmentation.

Five-fold cross-validation over patients: each patient is tested once, by segmenters
and generators that were not trained on it. A row, a fold and a seed form one unit.
Finished units are stored, and the tables are rewritten after each unit.
"""

import dataclasses
import logging

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
      LeakError: for a fold, all synthetic sets of a row come from generators trained on patients it keeps apart.
    """
    rows, inputs = _rows(request), measuring.Inputs.of(request)
    # Check for errors before hours of training.
    chosen = {(row.name, fold.number): _synthetic(row, fold, request) for row in rows for fold in inputs.folds}
    study = Study(NAME, dataclasses.replace(request, synthetic=()), ())
    units = Units(study.folder, inputs.identity())
    scores, tables = [], {}
    for seed in request.seeds:
        # Fold by fold, so that all rows of an interrupted study have the same patients.
        for fold in inputs.folds:
            for row in rows:
                scores += measuring.unit(units, row, fold, seed, chosen[row.name, fold.number], inputs)
                tables = study.finish(scores, gain_tables.tables(scores))
                _LOG.info("Row %s, fold %d, seed %d is measured.", row.name, fold.number, seed)
    return tables


def _rows(request: Request) -> tuple[Row, ...]:
    if request.rows:
        return named(ROWS + SYNTHETIC_ROWS, request.rows)
    kinds = {kind_of(data) for data in request.synthetic}
    return ROWS + tuple(row for row in SYNTHETIC_ROWS if row.further in kinds)


def _synthetic(row: Row, fold: Fold, request: Request) -> list[prepared.PreparedData]:
    """The sets of a row's kind whose generators were not trained on a patient that the fold keeps apart.

    Raises:
      UserError: no set of the kind is given.
      LeakError: all given sets were trained on such a patient.
    """
    sets = [data for data in request.synthetic if kind_of(data) == row.further]
    if not sets and row in ROWS:
        return []
    if not sets:
        raise UserError(f"Row {row.name} needs a set of {row.further}; give it with --synthetic_data.")
    unseen = [data for data in sets if not leaks.seen_patients([data.record]) & fold.kept_apart]
    if not unseen:
        seen = sorted(set.union(*(leaks.seen_patients([data.record]) & fold.kept_apart for data in sets)))
        raise leaks.LeakError(
            f"Row {row.name}, fold {fold.number}: every set of {row.further} has seen test patients "
            f"({', '.join(seen[:5])}). Give a set whose generators were trained without them."
        )
    return unseen
