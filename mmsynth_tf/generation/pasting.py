"""Pastes real lesions into other real slices: the control for synthetic lesions (TumorCP, CarveMix; not in the paper).

All modalities of a lesion are pasted together, so that slices stay registered.
Pasted and synthetic lesions are blended in the same way.
"""

import numpy as np
import scipy.ndimage

from mmsynth_tf.algorithms import blending
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.generation import lesion_slices
from mmsynth_tf.generation.lesion_slices import LesionSlice

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
      seed: of all draws.

    Raises:
      UserError: no slice has a lesion.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray, seed: int):
        self._image, self._label, self._seed = image, label, seed
        self._donors = lesion_slices.donors(label)

    def draw(self, number: int) -> LesionSlice:
        """The slice of a draw.

        Raises:
          UserError: no lesion fits into any slice.
        """
        return _draw(self._image, self._label, self._donors, np.random.default_rng([self._seed, number]))


def _draw(image: np.ndarray, label: np.ndarray, donors: np.ndarray, rng: np.random.Generator) -> LesionSlice:
    for _ in range(lesion_slices.LESION_TRIES):
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
            return LesionSlice(result, np.where(placed, moved, label[recipient]), placed, recipient, donor, transform)
    raise lesion_slices.fits_nowhere()


def _layers(image: np.ndarray) -> list[np.ndarray]:
    """The modalities of [H, W, n]."""
    return list(np.moveaxis(image, -1, 0))


def _moved(
    image: np.ndarray, label: np.ndarray, own: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """A slice scaled, turned, mirrored and shifted such that its lesion lies within the head of `own`.

    Also returns its label, None where no place was found, and its transform.
    """
    head = lesion_slices.head_of(own)
    if not head.any():
        return image, None, np.zeros(8, np.float32)
    matrix, scale = lesion_slices.random_turn(rng)
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
            return np.stack(layers, axis=-1), moved, lesion_slices.projective(matrix, offset)
    return image, None, np.zeros(8, np.float32)


def _varied(made: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice with another contrast in each modality, and blurred or not, 0 where it is 0."""
    made = np.clip(made, 0.0, 1.0) ** np.exp(rng.uniform(*np.log(_GAMMA), size=made.shape[-1])).astype(np.float32)
    if rng.random() < _BLUR_SHARE:
        sigma = rng.uniform(*_BLUR) * slice_sizes.relative_size(made.shape[:2])
        made = np.where(made > 0, scipy.ndimage.gaussian_filter(made, (sigma, sigma, 0)), made)
    return made
