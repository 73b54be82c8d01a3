"""Measures of the registration of two modalities of a slice, which are not part of the generators' losses."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmsynth_tf.configs import slice_sizes

# Intensity bins: few, so that the pixels of a small head fill the joint histogram.
_BINS = 8
_SIGMA = 1.0  # Of the Gaussian derivative, pixels of `slice_sizes.MEASURED_SIZE`.


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised mutual information 2 I / (H(a) + H(b)) of two lists of intensities, in [0, 1].

    The eight intensity bins have equal counts, so the result does not depend on brightness and contrast.

    Args:
      first: float [N], the pixels of a region in one modality.
      second: float [N], the same pixels in another one.

    Returns:
      0 for independent intensities, 1 if each determines the other; NaN if there are fewer pixels than cells of the
      joint histogram, or no contrast.
    """
    if len(first) < _BINS**2:
        return np.nan
    joint = np.bincount(_BINS * _classes(first) + _classes(second), minlength=_BINS**2).reshape(_BINS, _BINS)
    entropies = [_entropy(counts) for counts in (joint.sum(axis=0), joint.sum(axis=1))]
    if not sum(entropies):
        return np.nan
    return float(2.0 * (sum(entropies) - _entropy(joint)) / sum(entropies))


def gradient_correlation(images: Sequence[np.ndarray], regions: Sequence[np.ndarray]) -> dict[tuple[int, int], float]:
    """Correlation of the gradient magnitudes of each pair of modalities of a slice, inside both regions.

    Gradients are Gaussian derivatives without the threshold of structure maps.

    Args:
      images: float [H, W], one for each modality.
      regions: bool [H, W], one for each modality, true for pixels to use.

    Returns:
      Indices of two modalities to the correlation in [-1, 1]; NaN if all magnitudes of a region are equal.
    """
    sigma = _SIGMA * slice_sizes.relative_size(images[0].shape)
    magnitudes = [ndimage.gaussian_gradient_magnitude(image.astype(np.float64), sigma) for image in images]
    found = {}
    for i, j in itertools.combinations(range(len(images)), 2):
        shared = regions[i] & regions[j]
        found[i, j] = correlation(magnitudes[i][shared], magnitudes[j][shared])
    return found


def _classes(values: np.ndarray) -> np.ndarray:
    """Bin indices, int [N]; bins have equal counts as far as ties allow."""
    limits = np.quantile(values, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(limits, values, side="left")


def _entropy(counts: np.ndarray) -> float:
    """Entropy of a histogram, nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two lists of values, float [N]; NaN for fewer than two, or if either is constant."""
    if first.size < 2 or not np.std(first) or not np.std(second):
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])
