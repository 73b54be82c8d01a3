"""Nearest neighbours among slices in NumPy, to detect copies of training slices (method §8)."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

_LARGEST_SHARE = 0.05  # Without copies about 1 % of the slices are below the 1st percentile.
_COPY = 0.5
COPY_RULE = (
    "The ratio divides the distance to the nearest training slice by the distance to the nearest slice of any other "
    "patient. The references are distances and ratios of real slices to other patients. Copies are suspected if a "
    "synthetic slice has a distance or ratio far below the smallest reference. They are also suspected if at least two "
    f"slices, and more than {_LARGEST_SHARE:.0%}, have a ratio below the 1st percentile of the references."
)


@dataclasses.dataclass(frozen=True)
class Described:
    """Representations of N slices: `c` channels (modalities) with P values each.

    Attributes:
      values: float32 [N, c, P]; 0 outside the mask and for missing channels.
      mask: float32 [N, P], 1 inside the head.
      present: float32 [N, c], 1 for the channels that a slice has.
    """

    values: np.ndarray
    mask: np.ndarray
    present: np.ndarray

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """|v|² of each slice and channel: float32 [N, c]."""
        return np.einsum("ncp,ncp->nc", self.values, self.values)

    @classmethod
    def of(cls, values: np.ndarray, mask: np.ndarray, present: np.ndarray) -> "Described":
        """Creates it from arrays of any dtype; values outside the mask and of missing channels are set to 0."""
        mask, present = mask.astype(np.float32), present.astype(np.float32)
        return cls(values.astype(np.float32) * mask[:, None] * present[..., None], mask, present)

    @classmethod
    def join(cls, parts: Sequence["Described"]) -> "Described":
        columns = zip(*((part.values, part.mask, part.present) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def distances(queries: Described, reference: Described) -> np.ndarray:
    """Root mean squared difference of each query and each reference slice, over the channels that both have.

    The mean is over the union of both masks, so that empty background does not reduce distances.

    Returns:
      float32 [N, M]; infinite for slices without a channel in common.
    """
    squares = np.zeros((len(queries.values), len(reference.values)), np.float32)
    channels = np.zeros_like(squares)
    for index in range(queries.values.shape[1]):
        both = np.outer(queries.present[:, index], reference.present[:, index])
        products = queries.values[:, index] @ reference.values[:, index].T
        squares += both * (queries.squares[:, index, None] + reference.squares[:, index] - 2 * products)
        channels += both
    overlap = queries.mask @ reference.mask.T
    union = queries.mask.sum(axis=1)[:, None] + reference.mask.sum(axis=1) - overlap
    counted = channels * union
    # For equal slices rounding may give negative values.
    means = np.maximum(squares, 0) / np.maximum(counted, 1)
    return np.where(counted > 0, np.sqrt(means), np.inf).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Closeness:
    """Distances of N slices to their nearest reference slices.

    Attributes:
      distance: float [N], to the nearest reference slice.
      ratio: float [N] in [0, 1], `distance` divided by the distance to the nearest slice of any other patient; 1 if
        the reference has only one patient.
    """

    distance: np.ndarray
    ratio: np.ndarray


def nearest(
    queries: Iterable[Described], reference: Described, patients: Sequence[str]
) -> tuple[Closeness, np.ndarray]:
    """Finds the nearest reference slices, for one batch of queries at a time.

    Args:
      queries: batches of slices.
      reference: slices to search.
      patients: patient id of each reference slice.

    Returns:
      The closeness of the N queries, and the indices of the nearest reference slices, int64 [N].
    """
    # Sort slices by patient, so that the smallest distance to each patient is one reduction.
    order = np.argsort(np.array(patients), kind="stable")
    _, starts = np.unique(np.array(patients)[order], return_index=True)
    parts = [_nearest_of(distances(batch, reference), order, starts) for batch in queries]
    distance, ratio, index = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Closeness(distance, ratio), index


def _nearest_of(table: np.ndarray, order: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, ...]:
    distance, index = table.min(axis=1), table.argmin(axis=1)
    by_patient = np.minimum.reduceat(table[:, order], starts, axis=1)
    if by_patient.shape[1] == 1:
        return distance, np.ones_like(distance), index
    other = np.partition(by_patient, 1, axis=1)[:, 1]
    ratio = np.divide(distance, other, out=np.ones_like(distance), where=(other > 0) & np.isfinite(other))
    return distance, ratio, index


@dataclasses.dataclass(frozen=True)
class CopyCheck:
    """Closeness of synthetic slices to training slices, compared with that between real patients.

    A small distance does not prove a copy, because blurred slices are closer to all slices. A copy is close to one
    patient and far from the others.

    Attributes:
      synthetic: closeness of the slices to check.
      chance: closeness of real slices to slices of other patients.
      near: a copy's distance is at most this fraction of the smallest distance in `chance`.
    """

    synthetic: Closeness
    chance: Closeness
    near: float = _COPY

    @property
    def share_close(self) -> float:
        """Fraction of synthetic slices whose distance is below the 1st percentile of the real ones."""
        return float(np.mean(self.synthetic.distance < np.percentile(self.chance.distance, 1)))

    @property
    def share_one_patient(self) -> float:
        """Fraction of synthetic slices whose ratio is below the 1st percentile of the real ones."""
        return float(np.mean(self.synthetic.ratio < np.percentile(self.chance.ratio, 1)))

    @property
    def copied(self) -> np.ndarray:
        """Slices whose distance or ratio is far below the smallest one of real slices: bool [N]."""
        close = self.synthetic.distance <= self.near * np.min(self.chance.distance)
        return close | (self.synthetic.ratio <= _COPY * np.min(self.chance.ratio))

    @property
    def copies(self) -> int:
        return int(np.sum(self.copied))

    @property
    def suspected(self) -> bool:
        # A single slice of a small set may lie below the percentile by chance.
        return self.copies > 0 or self.share_one_patient > max(_LARGEST_SHARE, 1 / len(self.synthetic.ratio))

    def sentence(self) -> str:
        """The verdict with its supporting figures."""
        count = len(self.synthetic.distance)
        return (
            f"{'Copies suspected' if self.suspected else 'No copies found'}: {self.copies} of {count} synthetic slices "
            f"by distance or ratio, and {self.share_one_patient:.1%} unusually close to a single training patient."
        )
