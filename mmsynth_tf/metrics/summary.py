"""Means over cases, with the number of cases beside them."""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric over many cases.

    Attributes:
      mean: mean over the `count` finite values; read it together with `missed`.
      std: standard deviation of the same values (n - 1); NaN for fewer than two.
      median: median with missed cases as infinitely bad; infinite when half of the cases or more are missed.
      count: number of finite values.
      missed: number of infinite values: distances to a lesion that was missed, or found where there is none.
      absent: number of NaN: nothing to find and nothing found.
    """

    mean: float
    std: float
    median: float
    count: int
    missed: int
    absent: int

    def text(self, digits: int = 3) -> str:
        """For tables, for example "0.842 ± 0.051 (n=17, 1 missed)"."""
        notes = [f"n={self.count}"] + ([f"{self.missed} missed"] if self.missed else [])
        if not self.count:
            return f"– ({', '.join(notes)})"
        spread = f" ± {self.std:.{digits}f}" if self.count > 1 else ""
        return f"{self.mean:.{digits}f}{spread} ({', '.join(notes)})"


def summarise(values: Iterable[float]) -> Summary:
    """Summary of per-case values, of which none is silently dropped."""
    values = np.asarray(list(values), np.float64)
    finite = values[np.isfinite(values)]
    present = values[~np.isnan(values)]
    return Summary(
        mean=mean(finite),
        std=float(np.std(finite, ddof=1)) if finite.size > 1 else np.nan,
        median=float(np.median(present)) if present.size else np.nan,
        count=finite.size,
        missed=present.size - finite.size,
        absent=values.size - present.size,
    )


def mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else np.nan
