"""Restores in translated volumes the fine detail that the model's coarser pixels lose (beyond the paper)."""

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import guided_filter
from mmsynth_tf.patients.field_of_view import FieldOfView
from mmsynth_tf.reading.scaling import FOREGROUND_MIN


def lost(source: np.ndarray, slices: np.ndarray, view: FieldOfView) -> np.ndarray:
    """The detail of a volume float32 [x, y, z] that its slices [z, height, width] lose; on the volume's grid."""
    return source - view.image_volume(slices, source > 0)


def restored(
    coarse: np.ndarray,
    lost: np.ndarray,
    made: np.ndarray,
    slices: np.ndarray,
    lesion: np.ndarray | None,
    view: FieldOfView,
    radius: int,
) -> np.ndarray:
    """Adds the source's detail, scaled by the local slope of the translated slices on the source slices.

    Args:
      coarse: float32 [x, y, z], the translated slices on the volume's grid, 0 outside the head.
      lost: the source's detail, as `lost` returns it.
      made: translated slices, float32 [z, height, width] in [0, 1], 0 outside the head.
      slices: source slices, of the same shape and range.
      lesion: uint8 [z, height, width]; lesions are synthetic and get no detail. None: no lesion is known.
      view: mapping between slices and volume.
      radius: radius of the windows, pixels.

    Returns:
      float32 [x, y, z], in [1/256, 1] where `coarse` is not 0, 0 elsewhere.
    """
    healthy = (made > 0) & (slices > 0)
    if lesion is not None:
        healthy &= lesion == 0
    mask = healthy.astype(np.float32)
    slope, _ = guided_filter.lines(*(tf.constant(x[..., None]) for x in (made, slices, mask)), radius)
    sharp = coarse + view.to_volume(mask * slope.numpy()[..., 0]) * lost
    return np.where(coarse > 0, np.clip(sharp, FOREGROUND_MIN, 1.0), coarse)
