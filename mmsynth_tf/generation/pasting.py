"""Pastes real lesions into other real slices: the control for synthetic lesions (TumorCP, CarveMix; not in the paper).

All modalities of a lesion are pasted together, so that slices stay registered.
Pasted and synthetic lesions are blended in the same way.
"""

from collections.abc import Iterable

import numpy as np
import scipy.ndimage

from mmsynth_tf.algorithms import blending
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.generation import heads, lesion_slices
from mmsynth_tf.generation.lesion_slices import LesionSlice, Move

# Of an object, as TumorCP and nnU-Net draw them. Blur in pixels of `slice_sizes.MEASURED_SIZE`.
_GAMMA, _BLUR = (0.7, 1.5), (0.5, 1.0)
_BLUR_SHARE = 0.5
# Places for one lesion.
_PLACES = 30


class Pasting:
    """Pastes lesions into slices; draw i depends on the seed and i alone.

    Args:
      image: float [N, H, W, n] in [0, 1], registered training slices, which may lie on disk; 0 outside the head and
        where a modality is missing.
      label: uint8 [N, H, W].
      positions: float [N], along the head.
      seed: of all draws.

    Raises:
      UserError: no slice has a lesion.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray, positions: np.ndarray, seed: int):
        self._image, self._label, self._seed = image, label, seed
        self._moves = lesion_slices.Moves(image, label, positions, lesion_slices.donors(label))

    def draw(self, number: int) -> LesionSlice:
        """The slice of a draw.

        Raises:
          UserError: no lesion fits into any slice.
        """
        rng = np.random.default_rng([self._seed, number])
        for _ in range(lesion_slices.LESION_TRIES):
            recipient, donor = self._moves.draw_pair(rng)
            own = self._image[recipient].astype(np.float32)
            # The lesion must have every modality that the recipient has.
            shown = self._image[donor].any(axis=(0, 1)) | ~own.any(axis=(0, 1))
            if recipient == donor or not shown.all():
                continue
            places = self._moves.draw(recipient, donor, _PLACES, rng)
            if move := _first_fitting(self._label[donor], heads.head_of(own), places):
                return self._pasted(own, recipient, donor, move, rng)
        raise lesion_slices.fits_nowhere()

    def _pasted(self, own: np.ndarray, recipient: int, donor: int, move: Move, rng: np.random.Generator) -> LesionSlice:
        layers = [_moved(layer, move, 1) for layer in _layers(self._image[donor].astype(np.float32))]
        made = _varied(np.stack(layers, axis=-1), rng)
        moved = _moved(self._label[donor], move, 0)
        placed = moved > 0
        spacing = (1.0 / slice_sizes.relative_size(placed.shape),) * 2
        blended = [blending.blend(*pair, placed, spacing) for pair in zip(*map(_layers, (own, made)), strict=True)]
        image = np.stack(blended, axis=-1).astype(np.float16)
        label = np.where(placed, moved, self._label[recipient])
        return LesionSlice(image, label, placed, recipient, donor, move.transform)


def _layers(image: np.ndarray) -> list[np.ndarray]:
    """The modalities of [H, W, n]."""
    return list(np.moveaxis(image, -1, 0))


def _first_fitting(label: np.ndarray, head: np.ndarray, moves: Iterable[Move]) -> Move | None:
    """The first move that leaves the lesion of `label` within the head, both [H, W]."""
    for move in moves:
        lesion = _moved(label, move, 0) > 0
        # A part that would lie beyond the border was cut off.
        complete = lesion.sum() >= 0.8 * move.area * (label > 0).sum()
        if complete and lesion.any() and not (lesion & ~head).any():
            return move
    return None


def _moved(layer: np.ndarray, move: Move, order: int) -> np.ndarray:
    return scipy.ndimage.affine_transform(layer, move.matrix, move.offset, order=order)


def _varied(made: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice with another contrast in each modality, and blurred or not, 0 where it is 0."""
    made = np.clip(made, 0.0, 1.0) ** np.exp(rng.uniform(*np.log(_GAMMA), size=made.shape[-1])).astype(np.float32)
    if rng.random() < _BLUR_SHARE:
        sigma = rng.uniform(*_BLUR) * slice_sizes.relative_size(made.shape[:2])
        made = np.where(made > 0, scipy.ndimage.gaussian_filter(made, (sigma, sigma, 0)), made)
    return made
