"""Effect of pasted and synthetic slices on a joint segmenter of all modalities, with strong augmentation.

Five-fold cross-validation over patients: each patient is tested once, by segmenters
and generators that were not trained on it. A row, a fold and a seed form one unit.
Finished units are stored, and the tables are rewritten after each unit.
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import presets
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import gain_tables, slices, training
from mmsynth_tf.experiments.segmentation_gain.slices import Fold, Slices
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.generation import pasting
from mmsynth_tf.metrics.segmentation import OVERLAP_METRICS, region_metrics
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder

_LOG = logging.getLogger(__name__)

STEPS = 3_000
# Number of pasted slices as a multiple of the real ones, so that few are drawn twice.
_PASTED = 3
_PASTED_LESIONS, _NOISE, _MADE = "pasted lesions", "slices from noise", "made lesions"


@dataclasses.dataclass(frozen=True)
class Row:
    """One training set.

    Attributes:
      name: for command lines and records.
      real: whether it contains the patients' real slices.
      further: the kind of the other slices in each batch, if any.
      augmentation: as for `training.train`.
    """

    name: str
    real: bool = True
    further: str | None = None
    augmentation: str = training.STRONG


# In the order of measurement, the most important rows first.
ROWS = (
    Row(gain_tables.BASE),
    Row("pasted", further=_PASTED_LESIONS),
    Row("real_weak", augmentation=training.WEAK),
    Row("real", augmentation=training.NONE),
)
SYNTHETIC_ROWS = (
    Row("noise", real=False, further=_NOISE),
    Row("real_noise", further=_NOISE),
    Row("real_made", further=_MADE),
)


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
    settings = _settings(request)
    study = Study("segmentation_gain", dataclasses.replace(request, synthetic=()), (), settings=_used(settings))
    everyone = slices.read_slices(request.real)
    parts = slices.folds(everyone.patient.tolist(), request.split)
    # Check for errors before hours of training.
    chosen = {(row.name, fold.number): _synthetic(row, fold, request) for row in rows for fold in parts}
    scores, tables = [], {}
    for seed in request.seeds:
        # Fold by fold, so that all rows of an interrupted study have the same patients.
        for fold in parts:
            for row in rows:
                synthetic = chosen[row.name, fold.number]
                name = "_".join([f"seed{seed}", row.name, f"fold{fold.number}", *(_hash(data) for data in synthetic)])
                unit = functools.partial(_measure, row, fold, seed, everyone, synthetic, request.real.config, settings)
                scores += study.part(name, unit)
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
    kinds = {_MADE if _has_real_anatomy(data) else _NOISE for data in request.synthetic}
    return ROWS + tuple(row for row in SYNTHETIC_ROWS if row.further in kinds)


def _has_real_anatomy(data: prepared.PreparedData) -> bool:
    return prepared.has_real_anatomy(data.record["generation"])


def _settings(request: Request) -> configs.SegmentationConfig:
    """Settings of the work directory's segmenters, or of the preset cpu if there are none."""
    try:
        config = run_folder.read_config(request.workdir / constants.SEGMENTATION)
    except WorkDirError:
        config = presets.preset("cpu")
    return dataclasses.replace(config.segmentation, steps=request.steps or STEPS)


def _used(settings: configs.SegmentationConfig) -> dict[str, int]:
    return {name: getattr(settings, name) for name in ("steps", "base_filters", "levels")}


def _synthetic(row: Row, fold: Fold, request: Request) -> list[prepared.PreparedData]:
    """The sets of a row's kind whose generators were not trained on a patient that the fold keeps apart.

    Raises:
      UserError: no set of the kind is given.
      LeakError: all given sets were trained on such a patient.
    """
    if row.further not in (_NOISE, _MADE):
        return []
    sets = [data for data in request.synthetic if _has_real_anatomy(data) == (row.further == _MADE)]
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


def _hash(data: prepared.PreparedData) -> str:
    return hashlib.sha256(json.dumps(data.record, sort_keys=True).encode()).hexdigest()[:8]


def _measure(
    row: Row,
    fold: Fold,
    seed: int,
    everyone: Slices,
    synthetic: Sequence[prepared.PreparedData],
    data: configs.DataConfig,
    settings: configs.SegmentationConfig,
) -> list[Record]:
    """Trains and scores one unit: a record for each case, region and metric, and the prevalence of each region."""
    own, tested = everyone.of(fold.training), everyone.of(fold.tested)
    parts = _training_sets(row, own, synthetic, seed)
    model = training.train(parts, row.augmentation, data.num_classes, settings, seed)
    common = {"row": row.name, "fold": fold.number, "seed": seed, **_used(settings)}
    records = [
        {
            **common,
            "patient": gain_tables.TRAINING_SET,
            "case": "",
            "region": region,
            "metric": "prevalence",
            "value": v,
        }
        for region, v in _prevalence(parts, data).items()
    ]
    patients = dict(zip(tested.case.tolist(), tested.patient.tolist(), strict=True))
    for case, reference, found in training.segmented(model, tested):
        key = {**common, "patient": patients[case], "case": case}
        for region, values in region_metrics(reference, found, data.regions).items():
            records += [{**key, "region": region, "metric": name, "value": values[name]} for name in OVERLAP_METRICS]
    return records


def _training_sets(
    row: Row, own: Slices, synthetic: Sequence[prepared.PreparedData], seed: int
) -> list[training.Examples]:
    """The training sets that each fill an equal part of every batch."""
    parts = [(own.image, own.label)] if row.real else []
    if row.further == _PASTED_LESIONS:
        pasted = pasting.paste_lesions(own.image, own.label, _PASTED * len(own.label), seed)
        parts.append((pasted.image, pasted.label))
    elif row.further:
        read = [slices.read_slices(data, ["train"]) for data in synthetic]
        parts.append(tuple(np.concatenate([getattr(x, name) for x in read]) for name in ("image", "label")))
    return parts


def _prevalence(parts: Sequence[training.Examples], data: configs.DataConfig) -> dict[str, float]:
    """Prevalence of each region in a batch: the mean over its parts, which have equal size."""
    each = [slices.prevalence(label, data.regions) for _, label in parts]
    return {region: float(np.mean([shares[region] for shares in each])) for region in data.regions}
