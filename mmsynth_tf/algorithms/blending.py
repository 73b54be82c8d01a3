"""Blends a synthetic lesion into a real image, which is otherwise unchanged (beyond the paper)."""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

# Standard deviations of Gaussians, in pixels of `slice_sizes.MEASURED_SIZE`: width of the seam, and scale of the
# brightness correction from the tissue around the lesion.
_SEAM, _LEVEL = 1.0, 3.0
_TRUNCATE = 4.0
# Weight of the mean brightness difference, which regularises the correction where there is little tissue.
_LITTLE = 0.01


def blend(own: np.ndarray, made: np.ndarray, lesion: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Copies a lesion from one image into another, with a soft seam and the brightness of its surroundings.

    The smoothed difference of both images around the lesion is added to the synthetic image.

    Args:
      own: float32, one image with any number of axes, in [0, 1], 0 only outside the head.
      made: float32, synthetic image of the same shape, with the lesion, in [0, 1].
      lesion: bool, pixels to copy from `made`.
      spacing: distance of neighbouring pixels along each axis, in pixels of the models that generated `made`, if these
        had slices of `slice_sizes.MEASURED_SIZE`.

    Returns:
      float32, equal to `own` beyond a few of these pixels from the lesion, and 0 where `own` is 0.
    """
    if not lesion.any():
        return own
    reach = [int(np.ceil(_TRUNCATE * _LEVEL / step)) for step in spacing]
    box = tuple(
        slice(max(int(found.min()) - margin, 0), int(found.max()) + margin + 1)
        for found, margin in zip(np.nonzero(lesion), reach, strict=True)
    )
    result = own.copy()
    result[box] = _blend(own[box], made[box], lesion[box], np.asarray(spacing))
    return result


def _blend(own: np.ndarray, made: np.ndarray, lesion: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
        return scipy.ndimage.gaussian_filter(values, sigma / spacing, mode="constant", truncate=_TRUNCATE)

    inside = lesion.astype(np.float32)
    # 1 in the lesion and decreasing outside; doubled, because a blurred mask is about 0.5 at the outline.
    share = np.maximum(np.minimum(2.0 * smooth(inside, _SEAM), 1.0), inside)
    both = (own > 0) & (made > 0)
    tissue = (1.0 - share) * both
    difference = (own - made) * tissue
    weight = smooth(tissue, _LEVEL)
    mean = difference.sum() / max(tissue.sum(), 1.0)
    level = (smooth(difference, _LEVEL) + _LITTLE * mean) / (weight + _LITTLE)
    # Pixels that are empty in the synthetic image are not copied.
    share = share * (made > 0)
    smallest = own[own > 0].min(initial=1.0)
    return np.where(own > 0, share * np.clip(made + level, smallest, 1.0) + (1.0 - share) * own, own)
