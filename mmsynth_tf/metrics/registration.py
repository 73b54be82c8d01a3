"""Do two modalities of a slice show one anatomy at one place? Measures that no loss of the generator contains."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# Classes of intensity: few, so that the pixels of a small head fill the joint histogram.
_BINS = 8
_SIGMA = 1.0  # Of the Gaussian whose derivative is the gradient, pixels.


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised mutual information 2 I / (H(a) + H(b)) of two lists of intensities, in [0, 1].

    Intensities are counted in eight classes of equal size, so that brightness and contrast do not matter.

    Args:
      first: float [N], the pixels of a region in one modality.
      second: float [N], the same pixels in another one.

    Returns:
      0 for independent intensities, 1 where each follows from the other; NaN for fewer pixels than the joint
      histogram has cells, or without any contrast.
    """
    if len(first) < _BINS**2:
        return np.nan
    joint = np.bincount(_BINS * _classes(first) + _classes(second), minlength=_BINS**2).reshape(_BINS, _BINS)
    entropies = [_entropy(counts) for counts in (joint.sum(axis=0), joint.sum(axis=1))]
    if not sum(entropies):
        return np.nan
    return float(2.0 * (sum(entropies) - _entropy(joint)) / sum(entropies))


def gradient_correlation(images: Sequence[np.ndarray], regions: Sequence[np.ndarray]) -> dict[tuple[int, int], float]:
    """Correlation of the gradient magnitudes of each two modalities of a slice, where both have their region.

    Gradients are those of a Gaussian, and not thresholded as the edges of structure maps are.

    Args:
      images: float [H, W], one a modality.
      regions: bool [H, W], one a modality, true where pixels count.

    Returns:
      By the numbers of two modalities, in [-1, 1]; NaN where a region has no two different magnitudes.
    """
    magnitudes = [ndimage.gaussian_gradient_magnitude(image.astype(np.float64), _SIGMA) for image in images]
    found = {}
    for i, j in itertools.combinations(range(len(images)), 2):
        shared = regions[i] & regions[j]
        found[i, j] = _correlation(magnitudes[i][shared], magnitudes[j][shared])
    return found


def _classes(values: np.ndarray) -> np.ndarray:
    """int [N], numbers of the classes that have as equal sizes as ties allow."""
    limits = np.quantile(values, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(limits, values, side="left")


def _entropy(counts: np.ndarray) -> float:
    """Of a histogram, nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.size < 2 or not np.std(first) or not np.std(second):
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])
