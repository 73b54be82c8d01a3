"""Distributions of lesions, heads and positions over slices, beside those of real training slices."""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import scipy.stats

from mmsynth_tf import configs
from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.storage.records import Record

DISTRIBUTION = "distribution"
QUANTILES = (0.1, 0.5, 0.9)
WITH_LESION, LESIONS, LESION_AREA = "share of slices with a lesion", "lesions in such a slice", "lesion area, cm²"
FRONT_TO_BACK, OFF_MIDLINE = "largest lesion from front to back", "largest lesion off the midline"
HEAD_AREA, POSITION = "head area, cm²", "position along the head"

Values = Mapping[str, np.ndarray]


def describe(source: slice_sets.SliceSet, settings: configs.StructureMapConfig) -> Values:
    """Values of all quantities: float [N], over labelled slices that show a head.

    Quantities of lesions are of those slices that have one. Heads are those of Algorithm 2, in any modality. Lesions
    are connected regions of any class, diagonals included. The place is the centroid of the slice's largest lesion, in
    the box around the head. Shares of classes are shares of all lesion pixels.
    """
    found: dict[str, list[float]] = {}
    for batch in source.batches():
        heads = slice_sets.maps_of(batch, settings).head.any(axis=1)
        for index in np.flatnonzero(batch["has_label"] & heads.any(axis=(1, 2))):
            head, label = heads[index], batch["label"][index, ..., 0]
            slice_values = dict(_of_slice(head, label, source.data.config))
            if "position" in batch:
                slice_values[POSITION] = float(batch["position"][index])
            for name, value in slice_values.items():
                found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def distribution_records(
    source: slice_sets.SliceSet, settings: configs.StructureMapConfig, reference: Values
) -> list[Record]:
    """One record for each quantity: mean (`value`), quantiles, count, and the distance from `reference`.

    The distance is the Kolmogorov-Smirnov statistic: the largest difference of the two distribution functions, 0 to 1.
    """
    return [
        {
            **source.key,
            "metric": DISTRIBUTION,
            "quantity": name,
            "value": float(values.mean()),
            **{f"q{share}": float(np.quantile(values, share)) for share in QUANTILES},
            "distance": float(scipy.stats.ks_2samp(values, reference[name]).statistic) if name in reference else np.nan,
            "count": len(values),
        }
        for name, values in describe(source, settings).items()
    ]


def _of_slice(head: np.ndarray, label: np.ndarray, data: configs.DataConfig) -> Iterator[tuple[str, float]]:
    """Quantities of a slice, from bool and uint8 [H, W]."""
    pixel = data.spacing_mm[1] * data.spacing_mm[2] / 100.0  # cm²
    lesion = label > 0
    yield HEAD_AREA, float(head.sum()) * pixel
    yield WITH_LESION, float(lesion.any())
    if not lesion.any():
        return
    number, parts, statistics, _ = cv2.connectedComponentsWithStats(lesion.astype(np.uint8))
    yield LESIONS, number - 1.0
    yield LESION_AREA, float(lesion.sum()) * pixel
    largest = parts == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])
    row, column = (_place(*pair) for pair in zip(np.nonzero(largest), np.nonzero(head), strict=True))
    yield FRONT_TO_BACK, row
    yield OFF_MIDLINE, abs(2.0 * column - 1.0)
    for value, name in enumerate(data.labels[1:], start=1):
        yield f"share of {name}", float((label[lesion] == value).mean())


def _place(lesion: np.ndarray, head: np.ndarray) -> float:
    """Mean coordinate of the lesion, 0 and 1 at the ends of the head."""
    return float((lesion.mean() - head.min()) / max(head.max() - head.min(), 1))
