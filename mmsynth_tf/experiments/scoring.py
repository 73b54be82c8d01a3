"""Scores segmenters on prepared data sets, per patient volume and per slice (method §8, §9)."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants, input_pipeline, prepared
from mmsynth_tf.metrics.segmentation import label_map_dice, label_map_mse, region_metrics
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reports import report
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter, as_channels
from mmsynth_tf.stages.segmentation import ensemble
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record

_log = logging.getLogger(__name__)

VOLUME, SLICE = "volume", "slice"
LABEL_MAP = "label map"  # Region name for metrics of the whole label map.

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class SegmentedCase:
    """One patient volume, or one synthetic slice, with its segmentation.

    Attributes:
      case_id: from the data set.
      reference: uint8 [D, H, W].
      prediction: uint8 [n, D, H, W], by modality; [0, D, H, W] of the joint segmenter.
      together: uint8 [D, H, W], from all available modalities: by the joint segmenter, or the ensemble.
      available: bool [n], whether the case has a modality.
    """

    case_id: str
    reference: np.ndarray
    prediction: np.ndarray
    together: np.ndarray
    available: np.ndarray


def segmented_cases(
    segmenter: Segmenter | JointSegmenter, data: prepared.PreparedData, split: str
) -> Iterator[SegmentedCase]:
    """Segments a split case by case; cases without a label are skipped."""
    examples = data.slices(split).filter(lambda x: x["has_label"])

    def slices() -> Iterator[tuple]:
        for batch in input_pipeline.registered_batches(examples, _BATCH):
            names = ("case_id", "slice_index", "label", "available")
            case_id, slice_index, label, available = (batch[name].numpy() for name in names)
            found = _segmentations(segmenter, batch["image"], available)
            yield from zip(case_id, slice_index, label, available, *found, strict=True)

    # The files may not hold the slices of a case in sequence.
    ordered = sorted(slices(), key=lambda row: (row[0], row[1]))
    for case_id, rows in itertools.groupby(ordered, key=lambda row: row[0]):
        _, _, labels, available, found, together = zip(*rows, strict=True)
        yield SegmentedCase(
            case_id.decode(),
            reference=np.stack(labels)[..., 0],
            prediction=np.stack(found, axis=1),
            together=np.stack(together),
            available=np.any(available, axis=0),
        )


def _segmentations(
    segmenter: Segmenter | JointSegmenter, images: tf.Tensor, available: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 of slices [B, n, H, W, 1]: by modality [B, n, H, W], and from all available ones [B, H, W]."""
    if isinstance(segmenter, JointSegmenter):
        together = segmenter.segment(as_channels(images)).numpy()
        return np.empty((len(together), 0, *together.shape[1:]), np.uint8), together
    probabilities = segmenter.lesion_processor(images, training=False).numpy()
    together = _ensemble_scores(probabilities, available)
    by_modality, together = (np.argmax(scores, axis=-1).astype(np.uint8) for scores in (probabilities, together))
    return by_modality, together


def _ensemble_scores(probabilities: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Scores [B, H, W, K] of the available ones of the modalities' probabilities [B, n, H, W, K]."""
    counted = probabilities * available[:, :, None, None, None]
    return ensemble.scores(list(np.moveaxis(counted, 1, 0)))


def probabilities_together(
    segmenter: Segmenter | JointSegmenter, images: tf.Tensor, available: np.ndarray
) -> np.ndarray:
    """Probabilities of the classes from all available modalities, float32 [B, H, W, K].

    Args:
      segmenter: the joint segmenter, or the paper's, whose ensemble's scores are scaled to sum to 1.
      images: float32 [B, n, H, W, 1], 0 where a modality is missing.
      available: bool [B, n].
    """
    if isinstance(segmenter, JointSegmenter):
        return segmenter.probabilities(as_channels(images)).numpy()
    scores = _ensemble_scores(segmenter.lesion_processor(images, training=False).numpy(), available)
    return scores / scores.sum(axis=-1, keepdims=True)


def segmentation_records(
    cases: Iterable[SegmentedCase], data: prepared.PreparedData, unit: str, **common: str | int | float
) -> list[Record]:
    """Scores segmented cases: one flat record for each case, modality, region and metric.

    With several modalities, or with the joint segmenter, `ALL_MODALITIES` is a further modality that stands for what
    is found in all of them.

    Args:
      cases: segmented volumes.
      data: gives modalities and regions.
      unit: `VOLUME` scores each volume as a whole, `SLICE` each of its slices.
      **common: fields of every record, such as the experiment and the training set.
    """
    rows = []
    for case in cases:
        by_modality = zip(data.config.modalities, case.prediction, case.available, strict=False)
        found = {name: prediction for name, prediction, available in by_modality if available}
        if len(data.config.modalities) > 1 or not len(case.prediction):
            found[constants.ALL_MODALITIES] = case.together
        for modality, prediction in found.items():
            parts = [(case.reference, prediction)] if unit == VOLUME else zip(case.reference, prediction, strict=True)
            for number, pair in enumerate(parts):
                key = {**common, "unit": unit, "case": case.case_id, "modality": modality}
                if unit == SLICE:
                    key["slice"] = number
                rows += [{**key, **score} for score in _scores(*pair, data)]
    return rows


def of_single_modalities(rows: Iterable[Record]) -> list[Record]:
    """The records of `segmentation_records` without the ensemble, for means over modalities."""
    return [row for row in rows if row["modality"] != constants.ALL_MODALITIES]


def _scores(truth: np.ndarray, found: np.ndarray, data: prepared.PreparedData) -> Iterator[Record]:
    spacing = data.config.spacing_mm[-truth.ndim :]
    # The tolerance of the surface Dice is the largest distance between neighbouring voxels of the label.
    for region, values in region_metrics(truth, found, data.config.regions, spacing, max(spacing)).items():
        for name, value in values.items():
            yield {"region": region, "metric": name, "value": value}
    yield {"region": LABEL_MAP, "metric": "authors' dice", "value": label_map_dice(truth, found)}
    yield {"region": LABEL_MAP, "metric": "authors' mse", "value": label_map_mse(truth, found)}


def summary_table(rows: Iterable[Record], by: tuple[str, ...], metric: str, caption: str) -> report.Table:
    """Mean ± standard deviation of a metric: a row for each value of `by`, a column for each region.

    Means are over cases and modalities; the table also gives the number of values.
    """
    rows = [row for row in rows if row["metric"] == metric]
    regions = list(dict.fromkeys(row["region"] for row in rows))
    keys = list(dict.fromkeys(tuple(row[name] for name in by) for row in rows))

    def cell(key: tuple, region: str) -> str:
        values = [r["value"] for r in rows if r["region"] == region and tuple(r[name] for name in by) == key]
        return summarise(values).text()

    body = [[*map(str, key), *(cell(key, region) for region in regions)] for key in keys]
    return report.Table([*by, *regions], body, caption)


def patients_of(record: dict, split: str) -> set[str]:
    """The patients of a split, from the record (data_set.json) of its data set."""
    return {record["patients"].get(case, case) for case in record["split"].get(split, [])}
