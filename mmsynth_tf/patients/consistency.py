"""Consistency of neighbouring slices, which two-dimensional networks ignore (beyond the paper)."""

import numpy as np
import scipy.ndimage

# Standard deviation of the Gaussian that smooths the brightness along the slice axis, mm.
LEVEL_SIGMA = 16.0


def roughness(slices: np.ndarray) -> float:
    """Mean |difference of neighbouring slices| over the mean of the head.

    Args:
      slices: float32 [z, H, W], 0 outside the head.

    Returns:
      The ratio over pixels that lie in the head in both slices; NaN without any.
    """
    both = (slices[1:] > 0) & (slices[:-1] > 0)
    if not both.any():
        return float("nan")
    return float(np.abs(np.diff(slices, axis=0))[both].mean() / slices[slices > 0].mean())


def smooth(slices: np.ndarray, spacing: float, blur: float) -> np.ndarray:
    """Makes neighbouring slices consistent: equalizes their brightness and blurs across slices.

    Args:
      slices: float32 [z, H, W] in [0, 1], 0 outside the head.
      spacing: distance of neighbouring slices, mm.
      blur: standard deviation of the Gaussian across slices, mm; 0 is none.

    Returns:
      float32 [z, H, W], 0 exactly where `slices` is.
    """
    head = slices > 0
    slices = match_levels(slices, LEVEL_SIGMA / spacing)
    return blur_across(slices, head, blur / spacing) if blur else slices


def match_levels(slices: np.ndarray, sigma: float) -> np.ndarray:
    """Scales each slice so that the mean over the head varies smoothly along z; `sigma` in slices."""
    sizes = np.count_nonzero(slices, axis=(1, 2)).astype(np.float32)
    sums = slices.sum(axis=(1, 2))
    # Weight by head area, because a mean over few pixels is unreliable.
    smooth_sizes, smooth_sums = (scipy.ndimage.gaussian_filter1d(values, sigma) for values in (sizes, sums))
    levels = smooth_sums / np.maximum(smooth_sizes, 1e-6)
    gains = np.where(sums > 0, levels * sizes / np.maximum(sums, 1e-6), 1.0)
    return np.clip(slices * gains[:, None, None], 0.0, 1.0).astype(np.float32)


def blur_across(slices: np.ndarray, head: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs along the slice axis, within the head only; `sigma` in slices."""
    weight = scipy.ndimage.gaussian_filter1d(head.astype(np.float32), sigma, axis=0)
    total = scipy.ndimage.gaussian_filter1d(slices, sigma, axis=0)
    return np.where(head, total / np.maximum(weight, 1e-6), 0.0).astype(np.float32)
