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
      median: median that counts missed cases as infinite; infinite when half of the cases or more are missed.
      count: number of finite values.
      missed: number of infinite values: distances where only one of reference and prediction has a lesion.
      absent: number of NaN: cases where neither reference nor prediction has a lesion.
    """

    mean: float
    std: float
    median: float
    count: int
    missed: int
    absent: int

    def text(self, digits: int = 3) -> str:
        """Text for tables, for example "0.842 ± 0.051 (n=17, 1 missed)"."""
        notes = [f"n={self.count}"] + ([f"{self.missed} missed"] if self.missed else [])
        if not self.count:
            return f"– ({', '.join(notes)})"
        spread = f" ± {self.std:.{digits}f}" if self.count > 1 else ""
        return f"{self.mean:.{digits}f}{spread} ({', '.join(notes)})"


def summarise(values: Iterable[float]) -> Summary:
    """Summary of per-case values; infinite values and NaN are counted, not silently dropped."""
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
