"""Slices with one more lesion, drawn one by one: what pasting and painting have in common."""

import dataclasses
import math
from typing import Protocol

import numpy as np

from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError

# Sizes of a moved lesion relative to its own, as TumorCP and nnU-Net draw them.
_SCALE = (0.7, 1.4)
# Smaller regions are rims of lesions in the next slice. Pixels of `slice_sizes.MEASURED_SIZE`.
_LEAST_PIXELS = 10
# Lesions tried for one slice.
LESION_TRIES = 20


@dataclasses.dataclass(frozen=True)
class LesionSlice:
    """A slice with one more lesion.

    Attributes:
      image: float16 [H, W, n] in [0, 1].
      label: uint8 [H, W].
      placed: bool [H, W], the new lesion.
      recipient: which slice it was put into.
      donor: which slice its shape comes from.
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
    """C of `LesionSlice`: image float16 [C, H, W, n], label uint8 and placed bool [C, H, W], the others [C]."""

    image: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    recipient: np.ndarray
    donor: np.ndarray


class Drawing(Protocol):
    """Draws slices with one more lesion; draw i depends on a seed and i alone."""

    def draw(self, number: int) -> LesionSlice:
        """The slice of a draw."""


def draw_all(drawing: Drawing, count: int) -> LesionSlices:
    """The first `count` draws."""
    drawn = [drawing.draw(number) for number in range(count)]
    return LesionSlices(
        *(np.array([getattr(one, field.name) for one in drawn]) for field in dataclasses.fields(LesionSlices))
    )


def donors(label: np.ndarray) -> np.ndarray:
    """Which slices [N, H, W] have a lesion that is large enough to be moved.

    Raises:
      UserError: none has.
    """
    least = _LEAST_PIXELS * slice_sizes.relative_size(label.shape[1:]) ** 2
    found = np.flatnonzero(np.sum(label > 0, axis=(1, 2)) >= least)
    if not found.size:
        raise UserError("No training slice has a lesion to take. Give labelled patients with lesions.")
    return found


def fits_nowhere() -> UserError:
    return UserError(
        f"None of {LESION_TRIES} lesions fits into the head of another training slice; give slices with larger heads, "
        "or of more patients."
    )


def head_of(image: np.ndarray) -> np.ndarray:
    """Where all modalities that a slice [H, W, n] has show the head: bool [H, W]."""
    there = image.any(axis=(0, 1))
    return np.all(image[..., there] > 0, axis=-1) if there.any() else np.zeros(image.shape[:2], bool)


def random_turn(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A turn, mirroring and scaling: float [2, 2], from pixels of the result to those of the slice; and the scale."""
    scale = math.exp(rng.uniform(*np.log(_SCALE)))
    angle, mirror = rng.uniform(-math.pi, math.pi), rng.choice((-1.0, 1.0))
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    return np.array([[cosine, -sine], [sine * mirror, cosine * mirror]]), scale


def projective(matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """A map of (row, column) as the transform of (x, y) that TensorFlow takes: float32 [8]."""
    (row_row, row_column), (column_row, column_column) = matrix
    values = (column_column, column_row, offset[1], row_column, row_row, offset[0], 0.0, 0.0)
    return np.array(values, np.float32)
