"""Puts a made lesion into a real image, of which all else stays (beyond the paper)."""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

# Standard deviations of Gaussians, in pixels of the models: of the seam, and of the brightness that is taken over
# from the tissue around the lesion.
_SEAM, _LEVEL = 1.0, 3.0
_TRUNCATE = 4.0
# Beside this little tissue, the mean of all that is near counts as much.
_LITTLE = 0.01


def blend(own: np.ndarray, made: np.ndarray, lesion: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """An image with its lesion taken from another one, faded in and as bright as its surroundings ask for.

    Both images are compared around the lesion; their difference there, smoothed, is added to the made one.

    Args:
      own: float32, one image of any number of axes, in [0, 1], 0 outside the head alone.
      made: float32, the same place with the lesion, likewise.
      lesion: bool, what is taken from `made`.
      spacing: distances of neighbouring pixels along each axis, in pixels of the models that made it.

    Returns:
      float32, `own` further than a few pixels from the lesion, 0 where it is 0.
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
    # 1 in the lesion, and falling from its outline, where a blurred mask is about a half.
    share = np.maximum(np.minimum(2.0 * smooth(inside, _SEAM), 1.0), inside)
    both = (own > 0) & (made > 0)
    tissue = (1.0 - share) * both
    difference = (own - made) * tissue
    weight = smooth(tissue, _LEVEL)
    mean = difference.sum() / max(tissue.sum(), 1.0)
    level = (smooth(difference, _LEVEL) + _LITTLE * mean) / (weight + _LITTLE)
    # Where nothing was made there is nothing to take.
    share = share * (made > 0)
    smallest = own[own > 0].min(initial=1.0)
    return np.where(own > 0, share * np.clip(made + level, smallest, 1.0) + (1.0 - share) * own, own)
