"""Scales the intensities of a volume to [0, 1].

The rule, for one volume `v` of any number type and unit:

- the background value `b` is the most frequent value on the six faces of the
  volume. It is 0 in every BraTS release and in volumes z-scored inside the
  head; it is the negative constant of volumes z-scored as a whole and of CT
  outside the field of view;
- the foreground is where `v != b`;
- `low` and `high` are the configured percentiles of `v` over the foreground of
  the whole volume;
- the result is `clip((v - low) / (high - low), 1/256, 1)` on the foreground
  and 0 elsewhere.

So a scaled image is positive exactly on the foreground, which is the head in
skull-stripped data, and half precision holds the smallest value exactly.
"""

import dataclasses

import numpy as np

FOREGROUND_MIN = 1 / 256


@dataclasses.dataclass(frozen=True)
class IntensityRange:
    """How the intensities of one volume are scaled; values in the unit of the volume."""

    background: float
    low: float
    high: float


def background_value(volume: np.ndarray) -> float:
    """The most frequent value on the faces of a volume [X, Y, Z]."""
    faces = [volume[index].ravel() for axis in range(3) for index in _face_indices(axis)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return values[np.argmax(counts)].item()


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


def measure_range(volume: np.ndarray, percentiles: tuple[float, float]) -> IntensityRange:
    """The scaling of a volume.

    Args:
      volume: any number type [X, Y, Z], finite.
      percentiles: the percentiles of the foreground that become 0 and 1.

    Raises:
      ValueError: the volume has no contrast, that is, the two percentiles coincide, or single precision cannot
        hold their difference.
    """
    background = background_value(volume)
    values = volume[volume != background]
    if not values.size:
        raise ValueError("the volume is constant")
    low, high = np.percentile(values, percentiles).tolist()
    if not high - low <= float(np.finfo(np.float32).max):
        raise ValueError(f"the values of the volume reach too far, from {low:g} to {high:g}")
    if low >= high:
        raise ValueError(f"the volume has no contrast: both percentiles {percentiles} of its foreground are {low:g}")
    return IntensityRange(background, low, high)


def foreground(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Where values differ from the background; bool of their shape."""
    return values != intensities.background


def scale(values: np.ndarray, intensities: IntensityRange) -> np.ndarray:
    """Scales values of any shape and number type by the rule above; float32, 0 or in [1/256, 1]."""
    scaled = (values.astype(np.float32) - intensities.low) / (intensities.high - intensities.low)
    return np.where(foreground(values, intensities), np.clip(scaled, FOREGROUND_MIN, 1.0), 0.0).astype(np.float32)
