"""Paints lesions into real slices from the statistics of real lesions (beyond the paper).

No network takes part. The shape is that of a real lesion, deformed. Each class gets a
mean brightness in each modality, and a smooth random texture whose covariance over
modalities is that of the class in a real lesion. So modalities agree about what
they show, as in real lesions, and no two lesions look the same.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.ndimage

from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.generation import heads, lesion_slices
from mmsynth_tf.generation.lesion_slices import LesionSlice, Move
from mmsynth_tf.generation.lesion_statistics import DARKEST, SOFTENING, LesionStatistics

# Lengths in pixels of `slice_sizes.MEASURED_SIZE`, standard deviations unless said otherwise.
_LARGEST_SHIFT, _SHIFT_SMOOTHNESS = 3.0, 5.0  # Of the deformation.
_MARGIN = 2  # Width of the seam around a lesion, where tissue is smoothed.
_SURROUNDINGS = 3.0
_PLACES = 12
_LITTLE = 1e-4


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A lesion in its new place."""

    label: np.ndarray  # uint8 [H, W]
    transform: np.ndarray  # float32 [8], without the deformation.


class Painting:
    """Paints lesions into slices; draw i depends on the seed and i alone.

    Args:
      image: float [N, H, W, n] in [0, 1], registered training slices, which may lie on disk; 0 outside the head and
        where a modality is missing.
      label: uint8 [N, H, W].
      positions: float [N], along the head.
      patients: N patients, whose healthy tissue has a brightness of its own.
      seed: of all draws.

    Raises:
      UserError: no slice with all modalities has a lesion.
    """

    def __init__(self, image: np.ndarray, label: np.ndarray, positions: np.ndarray, patients: Sequence[str], seed: int):
        self._image, self._label, self._seed = image, label, seed
        self._size = slice_sizes.relative_size(label.shape[1:])
        self._statistics = LesionStatistics(image, label, patients)
        self._moves = lesion_slices.Moves(image, label, positions, self._statistics.donors)

    def draw(self, number: int) -> LesionSlice:
        """The slice of a draw.

        Raises:
          UserError: no lesion fits into any slice.
        """
        rng = np.random.default_rng([self._seed, number])
        for _ in range(lesion_slices.LESION_TRIES):
            recipient, donor = self._moves.draw_pair(rng)
            own = self._image[recipient].astype(np.float32)
            places = self._moves.draw(recipient, donor, _PLACES, rng)
            shape = self._placed(self._label[donor], heads.head_of(own), places, rng)
            if recipient != donor and shape:
                means = np.nan_to_num(self._statistics.draw_means(donor, rng)[0])
                image = self._painted(own, self._statistics.level[recipient], shape.label, donor, means, rng)
                placed = shape.label > 0
                label = np.where(placed, shape.label, self._label[recipient])
                return LesionSlice(image.astype(np.float16), label, placed, recipient, donor, shape.transform)
        raise lesion_slices.fits_nowhere()

    def _placed(
        self, label: np.ndarray, head: np.ndarray, moves: Iterable[Move], rng: np.random.Generator
    ) -> _Shape | None:
        """A deformed lesion after the first move that leaves it within a head, if there is one."""
        shifts = self._statistics.smooth(rng.standard_normal((*head.shape, 2)), _SHIFT_SMOOTHNESS)
        shifts *= self._size * rng.uniform(0.0, _LARGEST_SHIFT) / shifts.std()
        grid = np.moveaxis(np.indices(head.shape), 0, -1) + shifts
        for move in moves:
            source = np.moveaxis(grid @ move.matrix.T + move.offset, -1, 0)
            moved = scipy.ndimage.map_coordinates(label, source, order=0)
            # A part that would lie beyond the border was cut off; deformation changes areas, too.
            complete = np.count_nonzero(moved) >= 0.5 * move.area * np.count_nonzero(label)
            if complete and moved.any() and not moved[~head].any():
                return _Shape(moved, move.transform)
        return None

    def _painted(
        self,
        own: np.ndarray,
        level: np.ndarray,
        lesion: np.ndarray,
        donor: int,
        means: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The slice float32 [H, W, n] with the lesion uint8 [H, W]; healthy tissue has the brightness `level`."""
        statistics = self._statistics
        margin = max(1, round(_MARGIN * self._size))
        hole = scipy.ndimage.binary_dilation(lesion > 0, iterations=margin)
        known = (heads.head_of(own) & ~hole).astype(np.float32)[..., None]
        surroundings = statistics.smooth(own * known, _SURROUNDINGS) + _LITTLE * level
        result = surroundings / (statistics.smooth(known, _SURROUNDINGS) + _LITTLE)
        texture = statistics.draw_texture(own.shape, rng)
        for index, k in enumerate(statistics.classes):
            where = lesion == k
            result[where] = level + means[index] + texture[where] @ statistics.factor(donor, index).T
        softened = statistics.smooth(result, SOFTENING)
        for index, k in enumerate(statistics.classes):
            where = lesion == k
            if where.any():  # Thin rims would lose their brightness.
                softened[where] += level + means[index] - softened[where].mean(axis=0)
        return np.where(hole[..., None] & (own > 0), np.clip(softened, DARKEST, 1.0), own)
