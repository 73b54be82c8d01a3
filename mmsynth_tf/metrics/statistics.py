"""Paired comparisons over patients: intervals, tests and corrections for several tests."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

_DRAWS = 10_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over patients with its bootstrap interval.

    Attributes:
      mean: of the patients' values.
      low: lower bound of the interval of the mean.
      high: upper bound of the interval of the mean.
      median: of the patients' values.
      count: number of patients with a value.
    """

    mean: float
    low: float
    high: float
    median: float
    count: int


def estimate(values: np.ndarray, level: float = 0.95, seed: int = 0) -> Estimate:
    """Mean, percentile bootstrap interval and median of the values that are not NaN.

    Args:
      values: float [P], one value for each patient, already averaged over seeds.
      level: coverage probability of the interval.
      seed: of the bootstrap samples.

    Returns:
      The estimate; without values, all entries are NaN and count is 0.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    drawn = np.random.default_rng(seed).integers(values.size, size=(_DRAWS, values.size))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), float(np.median(values)), values.size)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of paired differences, float [P]; NaN is ignored.

    The result is 1 if all differences are 0.
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[~np.isnan(differences) & (differences != 0)]
    return float(scipy.stats.wilcoxon(differences).pvalue) if differences.size else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p values that control the family-wise error rate."""
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    # Adjusted values must increase with p.
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected.tolist()
