"""Pastes real lesions into other real slices: the control for synthetic lesions (TumorCP, CarveMix; not in the paper).

All modalities of a lesion are pasted together, so that slices stay registered.
Pasted and synthetic lesions are blended in the same way.
"""

import dataclasses
import math

import numpy as np
import scipy.ndimage

from mmsynth_tf.algorithms import blending
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError

# Of an object: sizes as TumorCP and nnU-Net draw them. Blur in pixels of `slice_sizes.MEASURED_SIZE`.
_SCALE, _GAMMA, _BLUR = (0.7, 1.4), (0.7, 1.5), (0.5, 1.0)
_BLUR_SHARE = 0.5
# Smaller regions are rims of lesions in the next slice. Such pixels, too.
_LEAST_PIXELS = 10
# Places for one lesion, then lesions for one slice.
_PLACES, _LESIONS = 30, 20


@dataclasses.dataclass(frozen=True)
class Pasted:
    """Slices with a pasted lesion.

    Attributes:
      image: float16 [C, H, W, n] in [0, 1].
      label: uint8 [C, H, W].
      placed: bool [C, H, W], the pasted lesion.
      recipient: int64 [C], which slice it was put into.
      donor: int64 [C], which slice it was cut out of.
    """

    image: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    recipient: np.ndarray
    donor: np.ndarray


@dataclasses.dataclass(frozen=True)
class PastedSlice:
    """One of `Pasted`, and how its lesion was moved.

    Attributes:
      image: float16 [H, W, n] in [0, 1].
      label: uint8 [H, W].
      placed: bool [H, W].
      recipient: which slice it was put into.
      donor: which slice it was cut out of.
      transform: float32 [8], from the donor to the result, in the format of `warping.random_transforms`.
    """

    image: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    recipient: int
    donor: int
    transform: np.ndarray


def paste_lesions(image: np.ndarray, label: np.ndarray, count: int, seed: int) -> Pasted:
    """Draws slices with pasted lesions; draw i depends on the seed and i alone.

    Args:
      image: float [N, H, W, n] in [0, 1], registered training slices; 0 outside the head and where a modality is
        missing.
      label: uint8 [N, H, W].
      count: C.
      seed: of all draws.

    Raises:
      UserError: no slice has a lesion, or no lesion fits into any slice.
    """
    pasting = Pasting(image, label, seed)
    drawn = [pasting.draw(number) for number in range(count)]
    return Pasted(*(np.array([getattr(one, field.name) for one in drawn]) for field in dataclasses.fields(Pasted)))


class Pasting:
    """Pastes lesions into slices; arguments and errors as for `paste_lesions`, but images may lie on disk."""

    def __init__(self, image: np.ndarray, label: np.ndarray, seed: int):
        self._image, self._label, self._seed = image, label, seed
        least = _LEAST_PIXELS * slice_sizes.relative_size(label.shape[1:]) ** 2
        self._donors = np.flatnonzero(np.sum(label > 0, axis=(1, 2)) >= least)
        if not self._donors.size:
            raise UserError("No training slice has a lesion to cut out. Give labelled patients with lesions.")

    def draw(self, number: int) -> PastedSlice:
        """The slice of a draw."""
        return _draw(self._image, self._label, self._donors, np.random.default_rng([self._seed, number]))


def _draw(image: np.ndarray, label: np.ndarray, donors: np.ndarray, rng: np.random.Generator) -> PastedSlice:
    for _ in range(_LESIONS):
        recipient, donor = int(rng.integers(len(image))), int(rng.choice(donors))
        own = image[recipient].astype(np.float32)
        # The lesion must have every modality that the recipient has.
        shown = image[donor].any(axis=(0, 1)) | ~own.any(axis=(0, 1))
        if recipient == donor or not shown.all():
            continue
        made, moved, transform = _moved(image[donor].astype(np.float32), label[donor], own, rng)
        if moved is not None:
            placed = moved > 0
            made = _varied(made, rng)
            spacing = (1.0 / slice_sizes.relative_size(placed.shape),) * 2
            layers = [blending.blend(*pair, placed, spacing) for pair in zip(*map(_layers, (own, made)), strict=True)]
            result = np.stack(layers, axis=-1).astype(np.float16)
            return PastedSlice(result, np.where(placed, moved, label[recipient]), placed, recipient, donor, transform)
    raise UserError(
        f"None of {_LESIONS} lesions fits into the head of another training slice; give slices with larger heads, or "
        "of more patients."
    )


def _layers(image: np.ndarray) -> list[np.ndarray]:
    """The modalities of [H, W, n]."""
    return list(np.moveaxis(image, -1, 0))


def _moved(
    image: np.ndarray, label: np.ndarray, own: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """A slice scaled, turned, mirrored and shifted such that its lesion lies within the head of `own`.

    Also returns its label, None where no place was found, and its transform.
    """
    there = own.any(axis=(0, 1))
    head = np.all(own[..., there] > 0, axis=-1)
    if not head.any():
        return image, None, np.zeros(8, np.float32)
    scale = math.exp(rng.uniform(*np.log(_SCALE)))
    angle, mirror = rng.uniform(-math.pi, math.pi), rng.choice((-1.0, 1.0))
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # From pixels of the result to those of the slice.
    matrix = np.array([[cosine, -sine], [sine * mirror, cosine * mirror]])
    centre = np.argwhere(label > 0).mean(axis=0)
    places = np.argwhere(head)
    for place in places[rng.integers(len(places), size=_PLACES)]:
        offset = centre - matrix @ place
        moved = scipy.ndimage.affine_transform(label, matrix, offset, order=0)
        lesion = moved > 0
        # A part that would lie beyond the border was cut off.
        complete = lesion.sum() >= 0.8 * scale**2 * (label > 0).sum()
        if complete and lesion.any() and not (lesion & ~head).any():
            layers = [scipy.ndimage.affine_transform(layer, matrix, offset, order=1) for layer in _layers(image)]
            return np.stack(layers, axis=-1), moved, _projective(matrix, offset)
    return image, None, np.zeros(8, np.float32)


def _projective(matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """A map of (row, column) as the transform of (x, y) that TensorFlow takes: float32 [8]."""
    (row_row, row_column), (column_row, column_column) = matrix
    values = (column_column, column_row, offset[1], row_column, row_row, offset[0], 0.0, 0.0)
    return np.array(values, np.float32)


def _varied(made: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice with another contrast in each modality, and blurred or not, 0 where it is 0."""
    made = np.clip(made, 0.0, 1.0) ** np.exp(rng.uniform(*np.log(_GAMMA), size=made.shape[-1])).astype(np.float32)
    if rng.random() < _BLUR_SHARE:
        sigma = rng.uniform(*_BLUR) * slice_sizes.relative_size(made.shape[:2])
        made = np.where(made > 0, scipy.ndimage.gaussian_filter(made, (sigma, sigma, 0)), made)
    return made
