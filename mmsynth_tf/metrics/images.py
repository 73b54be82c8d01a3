"""Similarity of images inside a mask: MAE, PSNR, SSIM and MS-SSIM. NumPy only."""

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
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variances = _window_mean(a * a) - mean_a**2 + _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variances + c2)
    return mean(similarity[mask])


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


def _window_mean(values: np.ndarray) -> np.ndarray:
    sigma = (0.0,) * (values.ndim - 2) + (_SSIM_SIGMA, _SSIM_SIGMA)
    return ndimage.gaussian_filter(values, sigma, truncate=_SSIM_TRUNCATE)
