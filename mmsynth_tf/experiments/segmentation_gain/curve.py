"""Gain from pasted and synthetic slices against the number of patients, and the number of patients it is worth.

Each seed is one draw. It tests the patients of one fold and trains on nested subsets of
the others: seed s takes fold s modulo the number of folds. With all patients, units are
those of `segmentation_gain` and shared with it.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import curve_tables, measuring, rows, segmentation_gain
from mmsynth_tf.experiments.segmentation_gain.measuring import Inputs
from mmsynth_tf.experiments.segmentation_gain.rows import Row
from mmsynth_tf.experiments.segmentation_gain.slices import Fold
from mmsynth_tf.experiments.segmentation_gain.units import Units
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import finished, report
from mmsynth_tf.storage import atomic
from mmsynth_tf.storage.records import Record

NAME, FIGURE_FILE = "curve", "curve.png"
SIZES = (2, 4, 8)  # Beside all training patients.

_LOG = logging.getLogger(__name__)


def run(request: Request) -> dict[str, report.Table]:
    """Trains and scores the missing units, and reads off what each row is worth.

    A synthetic set is used for the smallest subset that holds all patients whom its generators were trained on.

    Raises:
      UserError: a row is unknown, no row has its sets, there are too few patients, or as for `Inputs.of`.
      PreparedDataError: the data sets do not fit together.
    """
    wanted = rows.named(rows.CURVE_ROWS, request.rows) if request.rows else rows.CURVE_ROWS
    inputs = Inputs.of(request)
    draws = {seed: _subsets(inputs.folds[seed % len(inputs.folds)], inputs) for seed in request.seeds}
    chosen, left_out = _plan(wanted, draws, request.synthetic)
    study = Study(NAME, dataclasses.replace(request, synthetic=()), ())
    units = Units(study.folder, inputs.identity())
    shared = Units(study.folder.with_name(segmentation_gain.NAME), inputs.identity())
    scores, tables = [], {}
    for row, seed, size, sets in chosen:
        scores += _unit(units, shared, row, draws[seed][size], size, seed, sets, inputs)
        tables = study.finish(scores, {**curve_tables.tables(scores), **left_out})
        with atomic.atomic_path(study.folder / FIGURE_FILE) as path:
            path.write_bytes(curve_tables.figure(scores))
        _LOG.info("Row %s, %s patients, seed %d is measured.", row.name, size, seed)
    return tables


def report_figures(request: Request, _rows: Sequence[Record]) -> list[report.Figure]:
    """The curves."""
    return finished.kept_picture(request.workdir, NAME, FIGURE_FILE, curve_tables.CAPTION)


def _subsets(fold: Fold, inputs: Inputs) -> dict[str, Fold]:
    """The fold with nested subsets of its training patients, by the size in words; the last has all of them."""
    everyone, sizes = fold.training | fold.kept_apart, [size for size in SIZES if size < len(fold.training)]
    chosen = {str(size): frozenset(splits.subset(fold.training, fold.number, size)) for size in sizes}
    chosen[measuring.ALL] = fold.training
    return {size: Fold(fold.number, part, fold.tested, everyone - part) for size, part in chosen.items()}


def _plan(
    wanted: Sequence[Row], draws: Mapping[int, Mapping[str, Fold]], synthetic: Sequence[prepared.PreparedData]
) -> tuple[list[tuple], dict[str, report.Table]]:
    """All units as (row, seed, size, sets), and a table of the rows left out for want of sets."""
    chosen, lacking = [], {}
    for seed, draw in draws.items():
        for size in reversed(draw):
            for row in wanted:
                sets = _sets(row, size, draw, synthetic)
                if sets or row in rows.ROWS:
                    chosen.append((row, seed, size, sets))
                else:
                    lacking.setdefault((row.name, size), []).append(str(seed))
    lines = [[*key, ", ".join(numbers)] for key, numbers in sorted(lacking.items())]
    for name, size, numbers in lines:
        _LOG.warning(
            "Row %s with %s patients is left out in draw %s: no set has generators of only these patients.",
            name,
            size,
            numbers,
        )
    if not chosen:
        raise UserError("No row has the sets it needs. Give sets whose generators saw only patients of a subset.")
    caption = "Left out: no set whose generators saw only patients of that subset."
    return chosen, {"left_out": report.Table(["row", "patients", "draws"], lines, caption)} if lines else {}


def _sets(
    row: Row, size: str, draw: Mapping[str, Fold], synthetic: Sequence[prepared.PreparedData]
) -> list[prepared.PreparedData]:
    """The sets of the row's kind for which this is the smallest subset that holds the patients they saw."""
    found = []
    for data in synthetic:
        seen = leaks.seen_patients([data.record])
        holding = [name for name, fold in draw.items() if seen <= fold.training]
        if rows.kind_of(data) == row.further and holding and holding[0] == size:
            found.append(data)
    return found


def _unit(
    units: Units,
    shared: Units,
    row: Row,
    fold: Fold,
    size: str,
    seed: int,
    sets: Sequence[prepared.PreparedData],
    inputs: Inputs,
) -> list[Record]:
    def measured() -> list[Record]:
        if size == measuring.ALL:
            found = measuring.unit(shared, row, fold, seed, sets, inputs)
        else:
            found = measuring.measure(row, fold, seed, sets, inputs, subsets=False)
        return [{**record, "size": size, "training_patients": len(fold.training)} for record in found]

    return units.part(
        "_".join([f"seed{seed}", row.name, f"fold{fold.number}", size, *measuring.hashes(sets)]), measured
    )
