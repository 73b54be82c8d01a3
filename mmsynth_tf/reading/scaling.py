"""Scales the intensities of a volume to [0, 1].

The rule, for one volume `v` of any number type and unit:

- the background value `b` is the most frequent value on the six faces of the
  volume. It is 0 in every BraTS release and in volumes z-scored inside the
  head; it is the negative constant of volumes z-scored as a whole and of CT
  outside the field of view;
- the foreground is where `v != b`;
- `low` and `high` are the configured percentiles of `v` over the foreground of
  the whole volume;
- `s = (v - low) / (high - low)`, clipped to [0, 1];
- where a median `m` is configured, `s` is raised to the power that takes the
  median of the foreground to `m`, so that tissue is as bright in one patient as
  in another whatever the brightest voxels are (a bright lesion, say);
- the result is `max(s, 1/256)` on the foreground and 0 elsewhere.

So a scaled image is positive exactly on the foreground, which is the head in
skull-stripped data, and half precision holds the smallest value exactly.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

FOREGROUND_MIN = 1 / 256
# Integers that reach further are sorted: a table of their counts would be larger than they are.
_MOST_COUNTED = 2**20
# Where the median lies closer to an end of the range than this, the power is as if it lay here: PET is mostly dark.
_FURTHEST_MEDIAN = 0.1


@dataclasses.dataclass(frozen=True)
class IntensityRange:
    """How the intensities of one volume are scaled; values in the unit of the volume."""

    background: float
    low: float
    high: float
    power: float = 1.0


def background_value(volume: np.ndarray) -> float:
    """The most frequent value on the faces of a volume [X, Y, Z]."""
    faces = np.concatenate([volume[index].ravel() for axis in range(3) for index in _face_indices(axis)])
    if counted := _counted(faces):
        smallest, counts = counted
        return smallest + int(np.argmax(counts))
    values, counts = np.unique(faces, return_counts=True)
    return values[np.argmax(counts)].item()


def _counted(values: np.ndarray) -> tuple[int, np.ndarray] | None:
    """The smallest of some integers, and how many there are of each from it on; None where sorting is cheaper."""
    if not np.issubdtype(values.dtype, np.integer):
        return None
    smallest, largest = values.min().item(), values.max().item()
    if largest - smallest > _MOST_COUNTED:
        return None
    return smallest, np.bincount(np.subtract(values, smallest, dtype=np.intp))


def has_nan_background(volume: np.ndarray) -> bool:
    """Whether most voxels on the faces of a volume, float32 [X, Y, Z], are NaN, and not all in the volume."""
    nan = np.isnan(volume)
    return bool(nan.any() and not nan.all() and np.isnan(background_value(volume)))


def without_nan(volume: np.ndarray) -> np.ndarray:
    """Gives NaN, where it is the background, a value below all others.

    Args:
      volume: float32 [X, Y, Z], not all NaN.
    """
    numbers = volume[~np.isnan(volume)]
    return np.where(np.isnan(volume), 2 * numbers.min() - numbers.max(), volume)


def _face_indices(axis: int) -> list[tuple]:
    return [(slice(None),) * axis + (end,) for end in (0, -1)]


def measure_range(volume: np.ndarray, percentiles: tuple[float, float], median: float = 0.0) -> IntensityRange:
    """The scaling of a volume; arguments and errors as those of `measure`."""
    return measure(volume, percentiles, median)[0]


def measure(
    volume: np.ndarray, percentiles: tuple[float, float], median: float = 0.0
) -> tuple[IntensityRange, np.ndarray]:
    """The scaling of a volume, and its foreground.

    Args:
      volume: any number type [X, Y, Z], finite.
      percentiles: the percentiles of the foreground that become 0 and 1.
      median: what the foreground's median becomes, in (0, 1); 0 leaves it where the percentiles put it.

    Returns:
      The scaling, and bool [X, Y, Z].

    Raises:
      ValueError: the volume has no contrast, that is, the two percentiles coincide, or single precision cannot
        hold their difference.
    """
    background = background_value(volume)
    # Files hold x fastest: with the axes reversed the values are taken in the order of memory, many times faster.
    reversed_axes = volume.T
    inside = reversed_axes != background
    values = reversed_axes[inside]
    if not values.size:
        raise ValueError("the volume is constant")
    low, middle, high = _percentiles(values, (percentiles[0], 50.0, percentiles[1]))
    if not high - low <= float(np.finfo(np.float32).max):
        raise ValueError(f"the values of the volume reach too far, from {low:g} to {high:g}")
    if low >= high:
        raise ValueError(f"the volume has no contrast: both percentiles {percentiles} of its foreground are {low:g}")
    power = _power((middle - low) / (high - low), median) if median else 1.0
    return IntensityRange(background, low, high, power), inside.T


def _power(value: float, wanted: float) -> float:
    """The power that takes a value in [0, 1] to the wanted one."""
    return float(np.log(wanted) / np.log(np.clip(value, _FURTHEST_MEDIAN, 1 - _FURTHEST_MEDIAN)))


def _percentiles(values: np.ndarray, percentiles: Sequence[float]) -> list[float]:
    """As `np.percentile`, but integers are counted instead of sorted, in a fifth of the time."""
    counted = _counted(values)
    if counted is None:
        return np.percentile(values, percentiles).tolist()
    smallest, counts = counted
    up_to = np.cumsum(counts)
    place = np.asarray(percentiles) / 100 * (values.size - 1)
    below = np.floor(place)
    # The values at two neighbouring places of the sorted values.
    left, right = (np.searchsorted(up_to, np.minimum(n, values.size - 1), side="right") for n in (below, below + 1))
    return (smallest + left + (right - left) * (place - below)).tolist()


def foreground(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Where values differ from the background; bool of their shape."""
    return values != intensities.background


def scale(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Scales values of any shape and number type by the rule above; float32, 0 or in [1/256, 1]."""
    scaled = (values.astype(np.float32) - intensities.low) / (intensities.high - intensities.low)
    if intensities.power != 1:
        scaled = np.clip(scaled, 0.0, 1.0) ** np.float32(intensities.power)
    inside = foreground(values, intensities)
    return np.where(inside, np.clip(scaled, FOREGROUND_MIN, 1.0), 0.0).astype(np.float32, copy=False)
