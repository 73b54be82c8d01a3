"""Draws slices with one additional lesion, one by one: shared code of pasting and painting."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import heads

# Size of a moved lesion relative to its original size, as TumorCP and nnU-Net draw it.
_SCALE = (0.7, 1.4)
# Tumours grow more often at some places than at others, so a lesion stays near its original position. In radians, and
# in fractions of the head's extents (`heads.frame`).
_LARGEST_TURN, _LARGEST_SHIFT = math.radians(30.0), 0.3
# Smaller regions are rims of lesions in the next slice. In pixels of `slice_sizes.MEASURED_SIZE`.
_LEAST_PIXELS = 10
# How many lesions are tried for one slice.
LESION_TRIES = 20


@dataclasses.dataclass(frozen=True)
class LesionSlice:
    """A slice with one additional lesion.

    Attributes:
      image: float16 [H, W, n] in [0, 1].
      label: uint8 [H, W].
      placed: bool [H, W], the new lesion.
      recipient: index of the slice that receives the lesion.
      donor: index of the slice that the lesion's shape comes from.
      transform: float32 [8], from the donor to the result, in the format of `warping.random_transforms`.
    """

    image: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    recipient: int
    donor: int
    transform: np.ndarray


@dataclasses.dataclass(frozen=True)
class LesionSlices:
    """C stacked `LesionSlice`: image float16 [C, H, W, n], label uint8 and placed bool [C, H, W], the others [C]."""

    image: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    recipient: np.ndarray
    donor: np.ndarray


@dataclasses.dataclass(frozen=True)
class Move:
    """Where a lesion goes: pixel p (row, column) of the result shows pixel `matrix @ p + offset` of the donor."""

    matrix: np.ndarray  # float64 [2, 2]
    offset: np.ndarray  # float64 [2]

    @property
    def area(self) -> float:
        """Area of the moved lesion relative to its original area."""
        return 1.0 / abs(np.linalg.det(self.matrix))

    @property
    def transform(self) -> np.ndarray:
        """The move as a transform of (x, y) for TensorFlow: float32 [8]."""
        (row_row, row_column), (column_row, column_column) = self.matrix
        values = (column_column, column_row, self.offset[1], row_column, row_row, self.offset[0], 0.0, 0.0)
        return np.array(values, np.float32)


class Drawing(Protocol):
    """Draws slices with one additional lesion; draw i depends only on a seed and i."""

    def draw(self, number: int) -> LesionSlice:
        """The slice of a draw."""


def draw_all(drawing: Drawing, count: int) -> LesionSlices:
    """The first `count` draws."""
    drawn = [drawing.draw(number) for number in range(count)]
    return LesionSlices(
        *(np.array([getattr(one, field.name) for one in drawn]) for field in dataclasses.fields(LesionSlices))
    )


def donors(label: np.ndarray) -> np.ndarray:
    """Indices of the slices [N, H, W] whose lesions are large enough to be moved.

    Raises:
      UserError: no slice has such a lesion.
    """
    least = _LEAST_PIXELS * slice_sizes.relative_size(label.shape[1:]) ** 2
    found = np.flatnonzero(np.sum(label > 0, axis=(1, 2)) >= least)
    if not found.size:
        raise UserError("No training slice has a lesion to take. Give labelled patients with lesions.")
    return found


class Moves:
    """Draws where lesions go: near their original position in the head, in slices of about the same height.

    Args:
      image: float [N, H, W, n] in [0, 1], which may be on disk; 0 outside the head.
      label: uint8 [N, H, W].
      positions: float [N], along the head, see `slicing.slice_examples`.
      donors: int64 [D], the slices whose lesions are moved.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray, positions: np.ndarray, donors: np.ndarray):
        self._label, self._positions, self._donors = label, positions, donors
        self._frames = np.stack([heads.frame(heads.head_of(one)) for one in image])

    def draw_pair(self, rng: np.random.Generator) -> tuple[int, int]:
        """A slice that receives a lesion, and a slice of about the same height with a lesion."""
        recipient = int(rng.integers(len(self._label)))
        near = heads.near(self._positions[self._donors], self._positions[[recipient]], rng.random((1, 1)))
        return recipient, int(self._donors[near[0, 0]])

    def draw(self, recipient: int, donor: int, count: int, rng: np.random.Generator) -> Iterator[Move]:
        """Moves of one turned, mirrored and scaled lesion to several places."""
        source, target = self._frames[donor].astype(float), self._frames[recipient].astype(float)
        angle, mirror = rng.uniform(-_LARGEST_TURN, _LARGEST_TURN), rng.choice((-1.0, 1.0))
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = np.array([[cosine, -sine], [sine * mirror, cosine * mirror]]) * heads.ratio(source, target)
        scale = math.exp(rng.uniform(*np.log(_SCALE)))
        matrix = np.linalg.inv(scale * turn)
        centre = np.argwhere(self._label[donor] > 0).mean(axis=0)
        middle = target[:2] + turn @ (centre - source[:2])
        for shift in rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, (count, 2)):
            yield Move(matrix, centre - matrix @ (middle + shift * target[2:]))


def fits_nowhere() -> UserError:
    return UserError(
        f"None of {LESION_TRIES} lesions fits into the head of another training slice; give slices with larger heads, "
        "or of more patients."
    )
