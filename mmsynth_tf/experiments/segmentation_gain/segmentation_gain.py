"""Effect of pasted and synthetic slices on a joint segmenter of all modalities, with strong augmentation.

Five-fold cross-validation over patients: each patient is tested once, by segmenters
and generators that were not trained on it. A row, a fold and a seed form one unit.
Finished units are stored, and the tables are rewritten after each unit.
"""

import dataclasses
import functools
import logging

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import gain_tables, measuring, slices
from mmsynth_tf.experiments.segmentation_gain.rows import ROWS, SYNTHETIC_ROWS, Row, kind_of
from mmsynth_tf.experiments.segmentation_gain.slices import Fold
from mmsynth_tf.experiments.segmentation_gain.units import Units
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import report

_LOG = logging.getLogger(__name__)


def run(request: Request) -> dict[str, report.Table]:
    """Trains and scores the missing units, and compares the rows over patients.

    All labelled patients of `request.real` are assigned to folds, regardless of its splits. With `request.split`
    "validation" the patients of the next fold are tested, for design decisions.

    Raises:
      UserError: a row is unknown, there are too few patients, or --train_data is given.
      PreparedDataError: the data sets do not fit together.
      LeakError: for a fold, all synthetic sets of a row come from generators trained on patients it keeps apart.
    """
    if request.trained_on:
        raise UserError("segmentation_gain deals the patients of --test_data into folds; leave --train_data out.")
    rows = _rows(request)
    for data in request.synthetic:
        prepared.require_same_geometry(data, request.real.config, str(request.real.path))
    settings, data = measuring.settings_of(request), request.real.config
    everyone = slices.read_slices(request.real)
    parts = slices.folds(everyone.patient.tolist(), request.split)
    # Check for errors before hours of training.
    chosen = {(row.name, fold.number): _synthetic(row, fold, request) for row in rows for fold in parts}
    study = Study("segmentation_gain", dataclasses.replace(request, synthetic=()), ())
    identity = measuring.identity(settings, everyone, data)
    units = Units(study.folder, {"folds": splits.FOLDS, "split": request.split, **identity})
    scores, tables = [], {}
    for seed in request.seeds:
        # Fold by fold, so that all rows of an interrupted study have the same patients.
        for fold in parts:
            for row in rows:
                sets = chosen[row.name, fold.number]
                name = "_".join([f"seed{seed}", row.name, f"fold{fold.number}", *measuring.name_of_sets(sets)])
                unit = functools.partial(measuring.measure, row, fold, seed, everyone, sets, data, settings)
                scores += units.part(name, unit)
                tables = study.finish(scores, gain_tables.tables(scores))
                _LOG.info("%s is measured.", name)
    return tables


def _rows(request: Request) -> tuple[Row, ...]:
    known = {row.name: row for row in ROWS + SYNTHETIC_ROWS}
    unknown = sorted(set(request.rows) - set(known))
    if unknown:
        raise UserError(f"No such row: {', '.join(unknown)}. The rows are {', '.join(known)}.")
    if request.rows:
        return tuple(row for name, row in known.items() if name in request.rows)
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
            f"Row {row.name}, fold {fold.number}: every set of {row.further} has seen patients that are tested "
            f"({', '.join(seen[:5])}). Give a set whose generators were trained without them."
        )
    return unseen
