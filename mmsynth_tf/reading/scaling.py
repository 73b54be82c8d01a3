"""Scales the intensities of a volume to [0, 1].

The rule, for one volume `v` of any numeric dtype and unit:

- the background value `b` is the most frequent value on the six faces of the
  volume. It is 0 in every BraTS release and in volumes z-scored inside the
  head. In volumes z-scored as a whole, and in CT outside the field of view, it
  is a negative constant;
- the foreground is where `v != b`;
- `low` and `high` are the configured percentiles of `v` over the foreground of
  the whole volume;
- `s = (v - low) / (high - low)`, clipped to [0, 1];
- if a median `m` is configured, `s` is raised to the power that maps the median
  of the foreground to `m`. Tissue brightness then does not depend on a
  patient's brightest voxels (a bright lesion, for instance);
- the result is `max(s, 1/256)` on the foreground and 0 elsewhere.

A scaled image is therefore positive exactly on the foreground, which is the
head in skull-stripped data. Half precision represents 1/256 exactly.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

FOREGROUND_MIN = 1 / 256
# Integers of a larger range are sorted, because their histogram would need more memory than the values.
_MOST_COUNTED = 2**20
# A median closer to either end of the range is clipped to this distance, because PET is mostly dark.
_FURTHEST_MEDIAN = 0.1


@dataclasses.dataclass(frozen=True)
class IntensityRange:
    """The intensity scaling of one volume; values are in the volume's unit."""

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
    """The smallest of some integers, and their histogram from it; None if sorting is cheaper."""
    if not np.issubdtype(values.dtype, np.integer):
        return None
    smallest, largest = values.min().item(), values.max().item()
    if largest - smallest > _MOST_COUNTED:
        return None
    return smallest, np.bincount(np.subtract(values, smallest, dtype=np.intp))


def has_nan_background(volume: np.ndarray) -> bool:
    """Whether NaN is the most frequent value on a volume's faces, float32 [X, Y, Z], but not the only value."""
    nan = np.isnan(volume)
    return bool(nan.any() and not nan.all() and np.isnan(background_value(volume)))


def without_nan(volume: np.ndarray) -> np.ndarray:
    """Replaces a NaN background by a value below all others.

    Args:
      volume: float32 [X, Y, Z], not all NaN.
    """
    numbers = volume[~np.isnan(volume)]
    return np.where(np.isnan(volume), 2 * numbers.min() - numbers.max(), volume)


def _face_indices(axis: int) -> list[tuple]:
    return [(slice(None),) * axis + (end,) for end in (0, -1)]


def measure_range(volume: np.ndarray, percentiles: tuple[float, float], median: float = 0.0) -> IntensityRange:
    """The scaling of a volume; arguments and errors as in `measure`."""
    return measure(volume, percentiles, median)[0]


def measure(
    volume: np.ndarray, percentiles: tuple[float, float], median: float = 0.0
) -> tuple[IntensityRange, np.ndarray]:
    """The scaling of a volume, and its foreground.

    Args:
      volume: any numeric dtype [X, Y, Z], finite.
      percentiles: the percentiles of the foreground that are mapped to 0 and 1.
      median: target of the foreground's median, in (0, 1); 0 applies no power.

    Returns:
      The scaling, and the foreground, bool [X, Y, Z].

    Raises:
      ValueError: the volume has no contrast, that is, the two percentiles coincide, or single precision cannot
        hold their difference.
    """
    background = background_value(volume)
    # Files store x fastest: reversed axes follow the memory order, which is many times faster.
    reversed_axes = volume.T
    inside = reversed_axes != background
    values = reversed_axes[inside]
    if not values.size:
        raise ValueError("the volume is constant")
    low, middle, high = _percentiles(values, (percentiles[0], 50.0, percentiles[1]))
    if not high - low <= float(np.finfo(np.float32).max):
        raise ValueError(f"the values of the volume span too large a range, from {low:g} to {high:g}")
    if low >= high:
        raise ValueError(f"the volume has no contrast: both percentiles {percentiles} of its foreground are {low:g}")
    power = _power((middle - low) / (high - low), median) if median else 1.0
    return IntensityRange(background, low, high, power), inside.T


def _power(value: float, wanted: float) -> float:
    """The power that maps a value in [0, 1] to the wanted value."""
    return float(np.log(wanted) / np.log(np.clip(value, _FURTHEST_MEDIAN, 1 - _FURTHEST_MEDIAN)))


def _percentiles(values: np.ndarray, percentiles: Sequence[float]) -> list[float]:
    """Like `np.percentile`, but counts integers instead of sorting them, in a fifth of the time."""
    counted = _counted(values)
    if counted is None:
        return np.percentile(values, percentiles).tolist()
    smallest, counts = counted
    up_to = np.cumsum(counts)
    place = np.asarray(percentiles) / 100 * (values.size - 1)
    below = np.floor(place)
    # The two neighbouring order statistics.
    left, right = (np.searchsorted(up_to, np.minimum(n, values.size - 1), side="right") for n in (below, below + 1))
    return (smallest + left + (right - left) * (place - below)).tolist()


def foreground(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Mask of values that differ from the background; bool of the same shape."""
    return values != intensities.background


def scale(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Scales values of any shape and numeric dtype by the rule above; float32, 0 or in [1/256, 1]."""
    scaled = (values.astype(np.float32) - intensities.low) / (intensities.high - intensities.low)
    if intensities.power != 1:
        scaled = np.clip(scaled, 0.0, 1.0) ** np.float32(intensities.power)
    inside = foreground(values, intensities)
    return np.where(inside, np.clip(scaled, FOREGROUND_MIN, 1.0), 0.0).astype(np.float32, copy=False)
