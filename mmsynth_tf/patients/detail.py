"""Puts translated slices on the grid of the file, with the fine detail that the model's coarser pixels lose.

Beyond the paper.
"""

import dataclasses
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import guided_filter
from mmsynth_tf.patients.field_of_view import FieldOfView
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.reading.scaling import FOREGROUND_MIN


@dataclasses.dataclass(frozen=True)
class GivenModality:
    """A modality that is translated from, as a volume and as the model's slices.

    Attributes:
      volume: float32 [x, y, z], 0 outside the head and in [1/256, 1] inside.
      slices: float32 [z, height, width], in the same range.
    """

    volume: np.ndarray
    slices: np.ndarray

    @classmethod
    def of(cls, one: Patient, modality: str) -> "GivenModality":
        volume = one.scaled(modality)
        return cls(volume, one.view.image_slices(volume))

    def lost(self, view: FieldOfView) -> np.ndarray:
        """The detail of the volume that its slices lose; on the volume's grid."""
        return self.volume - view.image_volume(self.slices, self.volume > 0)


def to_volume(
    made: np.ndarray, given: Collection[GivenModality], lesion: np.ndarray | None, view: FieldOfView, radius: int
) -> np.ndarray:
    """Translated slices on the file's grid, with the detail of the given modalities.

    The detail of each is scaled by the local slope of the translated slices on its slices. Their mean is weighted by
    how well each modality explains the translated slices (see `guided_filter.Lines`).

    Args:
      made: translated slices, float32 [z, height, width] in [0, 1], 0 outside the head.
      given: the modalities that were translated from, at least one.
      lesion: uint8 [z, height, width]; lesions are synthetic and get no detail. None: no lesion is known.
      view: mapping between slices and volume.
      radius: radius of the windows of the slope, pixels; 0: without detail.

    Returns:
      float32 [x, y, z], in [1/256, 1] where any of the given modalities shows the head, 0 elsewhere.
    """
    coarse = view.image_volume(made, np.logical_or.reduce([modality.volume > 0 for modality in given]))
    if not radius:
        return coarse
    total, weights = np.zeros_like(coarse), np.zeros_like(coarse)
    for modality in given:
        slope, weight = _slope(made, modality.slices, lesion, view, radius)
        total += weight * slope * modality.lost(view)
        weights += weight
    sharp = coarse + np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    return np.where(coarse > 0, np.clip(sharp, FOREGROUND_MIN, 1.0), coarse)


def _slope(
    made: np.ndarray, slices: np.ndarray, lesion: np.ndarray | None, view: FieldOfView, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """Local slope of translated on given slices, 0 in lesions, and its weight; both on the volume's grid."""
    healthy = (made > 0) & (slices > 0)
    if lesion is not None:
        healthy &= lesion == 0
    mask = healthy.astype(np.float32)
    found = guided_filter.lines(*(tf.constant(x[..., None]) for x in (made, slices, mask)), radius)
    return tuple(view.to_volume(mask * values.numpy()[..., 0]) for values in (found.slope, found.weight))
