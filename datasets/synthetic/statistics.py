"""Label statistics of a data set, and agreement of segmenters with the labels of each sample."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsynth_tf.configs import DataConfig


class LabelStatistics:
    """Classes in the slices, and sizes of their lesions."""

    def __init__(self, data: DataConfig):
        self._names = data.labels
        self._slices, self._without_lesion = 0, 0
        self._slices_with = np.zeros(data.num_classes, np.int64)
        self._pixels = np.zeros(data.num_classes, np.int64)
        self._area_squares, self._smallest, self._largest = 0, math.inf, 0

    def add(self, pixels: Sequence[int]) -> None:
        """Adds a slice with the given number of pixels of each class."""
        area = sum(pixels[1:])
        self._slices += 1
        self._slices_with += np.asarray(pixels) > 0
        self._pixels += pixels
        if area:
            self._area_squares += area**2
            self._smallest, self._largest = min(self._smallest, area), max(self._largest, area)
        else:
            self._without_lesion += 1

    def summary(self) -> dict[str, Any]:
        """JSON values; areas in pixels, over the slices with a lesion."""
        by_class = {"slices_with": self._slices_with.tolist(), "pixels": self._pixels.tolist()}
        return {
            "slices": self._slices,
            "slices_without_lesion": self._without_lesion,
            **{name: dict(zip(self._names, values, strict=True)) for name, values in by_class.items()},
            "lesion_area": self._lesion_area(),
        }

    def _lesion_area(self) -> dict[str, float] | None:
        number = self._slices - self._without_lesion
        if not number:
            return None
        mean = int(self._pixels[1:].sum()) / number
        variance = max(self._area_squares / number - mean**2, 0.0)
        return {"mean": mean, "sd": math.sqrt(variance), "smallest": self._smallest, "largest": self._largest}


class LesionAgreement:
    """Dice of the segmenters of the lesion filter; slices without a lesion are counted separately.

    Without a lesion the Dice is 1 if the segmentation is empty and 0 otherwise, so such slices would distort the mean.
    """

    def __init__(self, names: Sequence[str]):
        """`names` are the modalities, or `constants.ALL_MODALITIES` alone for the joint segmenter."""
        self._names = names
        self._slices = {True: 0, False: 0}
        self._sums = {group: np.zeros(len(names)) for group in self._slices}

    def add(self, has_lesion: bool, dice: Sequence[float]) -> None:
        """Adds a slice with the Dice of each of the names, NaN if no segmenter was applied."""
        self._slices[has_lesion] += 1
        self._sums[has_lesion] += dice

    def summary(self) -> dict[str, Any] | None:
        """JSON values: number of slices, and means by name; None if no segmenter was applied to the slices."""
        if np.isnan(sum(self._sums.values())).any():
            return None
        groups = {"with_lesion": (True, "dice"), "without_lesion": (False, "nothing_found")}
        return {group: {"slices": self._slices[key], name: self._means(key)} for group, (key, name) in groups.items()}

    def _means(self, key: bool) -> dict[str, float]:
        number = self._slices[key]
        return dict(zip(self._names, (self._sums[key] / number).tolist(), strict=True)) if number else {}
