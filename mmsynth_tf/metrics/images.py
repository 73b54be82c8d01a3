"""Similarity of images inside a mask: MAE, PSNR, SSIM and MS-SSIM, and the SSIM of the BraSyn challenge."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy import ndimage

from mmsynth_tf.errors import UserError
from mmsynth_tf.metrics.arrays import as_floats
from mmsynth_tf.metrics.summary import mean

# Constants of the SSIM of Wang et al., 2004.
_SSIM_SIGMA = 1.5
_SSIM_TRUNCATE = 3.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
# Of the multi-scale SSIM of Wang et al., 2003: window in pixels, and weights of the scales, finest first.
_MS_SSIM_WINDOW = 11
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Percentiles of a volume, background included, that BraSyn maps to 0 and 1.
_BRASYN_PERCENTILES = (0.5, 99.5)
LESION, HEALTHY, WHOLE = "lesion", "healthy", "volume"


def masked_mae(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error inside a mask; NaN when the mask is empty.

    Args:
      reference: float [..., H, W].
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
    """
    a, b = as_floats(reference, image, mask)
    return mean(np.abs(a - b)[mask])


def masked_psnr(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio inside a mask, dB; NaN when the mask is empty, infinite for equal images.

    Args:
      reference: float [..., H, W].
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
      data_range: largest minus smallest possible value.
    """
    a, b = as_floats(reference, image, mask)
    error = mean(((a - b) ** 2)[mask])
    return float(10 * np.log10(data_range**2 / error)) if error != 0 else np.inf


def masked_ssim(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Structural similarity (Wang et al., 2004), mean over a mask, in [-1, 1]; NaN when the mask is empty.

    Gaussian window of sigma 1.5 pixels within the slice, population statistics.
    Windows at the mask's rim reach outside it, so both images should be equal
    (0) there.

    Args:
      reference: float [..., H, W]; each slice is filtered on its own.
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
      data_range: largest minus smallest possible value.
    """
    a, b = as_floats(reference, image, mask)
    return mean(_ssim_map(a, b, data_range, axes=2)[mask])


def regional_ssim(reference: np.ndarray, image: np.ndarray, lesion: np.ndarray) -> dict[str, float]:
    """SSIM in the lesion, outside it and over the whole volume, after scaling by the reference's percentiles.

    Follows `evaluation_utils.py` of https://github.com/hongweilibran/BraSyn (8908040): values between the 0.5th and
    99.5th percentile go to [0, 1], others are clipped. For a region, everything else is set to 0, and the SSIM map is
    averaged inside the region. The healthy region is the head without the lesion.

    Args:
      reference: float [D, H, W], 0 outside the head.
      image: float, same shape.
      lesion: bool, same shape.

    Returns:
      Values by `LESION`, `HEALTHY` and `WHOLE`; NaN for an empty region.
    """
    a, b = as_floats(reference, image, lesion)
    bounds = np.percentile(a, _BRASYN_PERCENTILES)
    healthy = (a > 0) & ~lesion
    a, b = (_scaled(values, bounds) for values in (a, b))
    values = {WHOLE: mean(_ssim_map(a, b, 1.0, axes=3))}
    for name, region in ((LESION, lesion), (HEALTHY, healthy)):
        values[name] = mean(_ssim_map(a * region, b * region, 1.0, axes=3)[region])
    return values


def brasyn_ssim(reference: np.ndarray, image: np.ndarray, lesion: np.ndarray) -> dict[str, float]:
    """SSIM of the lesion and of the rest as the BraSyn challenge publishes it.

    Follows `ssim.py` of https://github.com/hongweilibran/BraSyn (8908040): each volume is scaled by its own
    percentiles, everything outside the region is set to 0, and the mean is over all voxels. Most of them are 0 in both
    volumes and count as 1, so the values are far higher than those of `regional_ssim`.

    Args:
      reference: float [D, H, W], 0 outside the head.
      image: float, same shape.
      lesion: bool, same shape.

    Returns:
      Values by `LESION` and `HEALTHY`.
    """
    a, b = as_floats(reference, image, lesion)
    a, b = (_scaled(values, np.percentile(values, _BRASYN_PERCENTILES)) for values in (a, b))
    found = {}
    for name, region in ((LESION, lesion), (HEALTHY, ~lesion)):
        pair = a * region, b * region
        # The range of torchmetrics where none is given; any range will do for two empty volumes.
        data_range = max(np.ptp(values) for values in pair) or 1.0
        found[name] = mean(_ssim_map(*pair, data_range, axes=3))
    return found


def _scaled(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Values between two bounds on [0, 1], clipped; all 0 where the bounds are equal."""
    low, high = max(bounds[0], 0.0), bounds[1]
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def _ssim_map(a: np.ndarray, b: np.ndarray, data_range: float, axes: int) -> np.ndarray:
    """SSIM at each pixel, with a Gaussian window along the last `axes` axes and population statistics."""

    def window_mean(values: np.ndarray) -> np.ndarray:
        sigma = (0.0,) * (values.ndim - axes) + (_SSIM_SIGMA,) * axes
        return ndimage.gaussian_filter(values, sigma, truncate=_SSIM_TRUNCATE)

    mean_a, mean_b = window_mean(a), window_mean(b)
    variances = window_mean(a * a) - mean_a**2 + window_mean(b * b) - mean_b**2
    covariance = window_mean(a * b) - mean_a * mean_b
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return similarity / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))


def ms_ssim_scales(image_size: Sequence[int]) -> int:
    """Number of scales of `ms_ssim`: the shorter side, halved at each scale, is at least as wide as the window.

    Raises:
      UserError: images are smaller than the window.
    """
    shorter = min(image_size)
    if shorter < _MS_SSIM_WINDOW:
        raise UserError(
            f"MS-SSIM needs slices of {_MS_SSIM_WINDOW} pixels or more a side, these have {shorter}; "
            "build the data sets with a larger data.image_size."
        )
    return min(len(_MS_SSIM_WEIGHTS), int(np.log2(shorter / _MS_SSIM_WINDOW)) + 1)


def ms_ssim(first: np.ndarray, second: np.ndarray, data_range: float = 1.0) -> np.ndarray:
    """Multi-scale structural similarity of slices (Wang et al., 2003), with as many of its five scales as fit.

    Args:
      first: float [B, H, W].
      second: float, same shape.
      data_range: largest minus smallest possible value.

    Returns:
      float32 [B] in [0, 1]; the weights of omitted scales are distributed over the others in proportion.

    Raises:
      UserError: images are smaller than the window.
    """
    weights = np.array(_MS_SSIM_WEIGHTS[: ms_ssim_scales(first.shape[1:])])
    a, b = (tf.constant(images[..., None], tf.float32) for images in (first, second))
    return tf.image.ssim_multiscale(
        a, b, data_range, power_factors=weights / weights.sum(), filter_size=_MS_SSIM_WINDOW
    ).numpy()
