"""Fine detail of a patient's volume for what was made of its slices, whose pixels are larger (beyond the paper)."""

import numpy as np
import scipy.ndimage

from mmsynth_tf.patients.field_of_view import FieldOfView
from mmsynth_tf.reading.scaling import FOREGROUND_MIN

# Variance of a window below which it counts as flat, for intensities in [0, 1].
_FLAT = 1e-3


def image_volume(
    made: np.ndarray, slices: np.ndarray, lesion: np.ndarray | None, source: np.ndarray, view: FieldOfView, radius: int
) -> np.ndarray:
    """Made slices on the volume's grid, with what the source shows there and its slices are too coarse for.

    Detail counts as much, and in the direction, as source and made slices go together around it.

    Args:
      made: float32 [z, height, width] in [0, 1], 0 outside the head.
      slices: those of the source, likewise.
      lesion: uint8 [z, height, width]; lesions are drawn and get no detail. None: nothing is known of any.
      source: float32 [x, y, z], 0 outside the head.
      view: how slices and volume lie to each other.
      radius: of the windows, pixels.

    Returns:
      float32 [x, y, z]: in [1/256, 1] in the part of the head that lies in the field of view, 0 elsewhere.
    """
    head = source > 0
    coarse = view.image_volume(made, head)
    healthy = (made > 0) & (slices > 0)
    if lesion is not None:
        healthy &= lesion == 0
    missing = source - view.image_volume(slices, head)
    detail = view.to_volume(_slopes(made, slices, healthy.astype(np.float32), radius)) * missing
    return np.where(coarse > 0, np.clip(coarse + detail, FOREGROUND_MIN, 1.0), coarse)


def _slopes(made: np.ndarray, slices: np.ndarray, mask: np.ndarray, radius: int) -> np.ndarray:
    """How much the made slices change with those of the source around each pixel of the mask; 0 elsewhere."""

    def mean(x: np.ndarray) -> np.ndarray:
        return _windows(x * mask, radius) / np.maximum(weight, 1e-6)

    weight = _windows(mask, radius)
    mean_made, mean_slices = mean(made), mean(slices)
    covariance = mean(made * slices) - mean_made * mean_slices
    variance = mean(slices * slices) - mean_slices**2
    return mask * mean(covariance / (variance + _FLAT))


def _windows(x: np.ndarray, radius: int) -> np.ndarray:
    """Means over square windows of each slice of [z, height, width]."""
    size = 2 * radius + 1
    return scipy.ndimage.uniform_filter(x, (0, size, size), mode="constant")
