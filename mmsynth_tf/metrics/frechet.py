"""Fréchet distance between two sets of feature vectors, in NumPy (Heusel et al., 2017, arXiv:1706.08500)."""

import dataclasses
from collections.abc import Iterable

import numpy as np

SAMPLE_COVARIANCE = "sample"
LEDOIT_WOLF = "Ledoit-Wolf"


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The normal distribution fitted to a set.

    Attributes:
      mean: float64 [D].
      covariance: float64 [D, D].
    """

    mean: np.ndarray
    covariance: np.ndarray


def choose_estimator(counts: Iterable[int], dimensions: int) -> str:
    """Chooses the covariance estimator for sets that are compared with each other.

    A sample covariance is singular if there are no more vectors than dimensions. All sets get the same estimator,
    because distances with different estimators are not comparable.
    """
    return SAMPLE_COVARIANCE if min(counts) > dimensions else LEDOIT_WOLF


def fit(features: np.ndarray, estimator: str = SAMPLE_COVARIANCE) -> Gaussian:
    """Mean and covariance of float [N, D], N at least 2.

    Args:
      features: one vector for each sample.
      estimator: `SAMPLE_COVARIANCE` (unbiased), or `LEDOIT_WOLF`: shrinkage towards a multiple of the identity, with
        an intensity estimated from the data (Ledoit and Wolf, 2004).

    Raises:
      ValueError: fewer than two vectors, or an unknown estimator.
    """
    if len(features) < 2:
        raise ValueError(f"A covariance needs at least two vectors, got {len(features)}.")
    if estimator not in (SAMPLE_COVARIANCE, LEDOIT_WOLF):
        raise ValueError(f"Unknown estimator {estimator!r}; choose {SAMPLE_COVARIANCE!r} or {LEDOIT_WOLF!r}.")
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    centred = features - mean
    covariance = _shrunk(centred) if estimator == LEDOIT_WOLF else centred.T @ centred / (len(features) - 1)
    return Gaussian(mean, covariance)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½): the squared 2-Wasserstein distance, at least 0."""
    # Σ_a Σ_b has the eigenvalues of a symmetric matrix, which is stable for singular covariances, too.
    root = _square_root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    overlap = np.sum(np.sqrt(np.maximum(eigenvalues, 0.0)))
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * overlap
    return float(max(distance, 0.0))


def _square_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _shrunk(centred: np.ndarray) -> np.ndarray:
    """(1 - s) S + s μ I, where s minimises the expected squared error."""
    count, dimensions = centred.shape
    covariance = centred.T @ centred / count
    target = np.trace(covariance) / dimensions * np.eye(dimensions)
    misfit = np.sum((covariance - target) ** 2)
    if misfit == 0:
        return covariance
    noise = (np.sum(np.sum(centred**2, axis=1) ** 2) / count - np.sum(covariance**2)) / count
    share = min(1.0, noise / misfit)
    return (1 - share) * covariance + share * target
