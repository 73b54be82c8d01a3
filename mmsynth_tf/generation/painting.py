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
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import heads, lesion_slices
from mmsynth_tf.generation.lesion_slices import LesionSlice, Move

# Lengths in pixels of `slice_sizes.MEASURED_SIZE`, standard deviations unless said otherwise.
_LARGEST_SHIFT, _SHIFT_SMOOTHNESS = 3.0, 5.0  # Of the deformation.
_TEXTURE_SMOOTHNESS = (0.7, 2.0)
_SOFTENING = 0.6  # Of the borders between classes: a pixel shows several tissues.
_MARGIN = 2  # Width of the seam around a lesion, where tissue is smoothed.
_SURROUNDINGS = 3.0
_PLACES = 12
# Share of lesions with the brightness of another donor than that of their shape, and the deviation of class means
# from the donor's in standard deviations between patients.
_OTHER_BRIGHTNESS, _MEANS_DEVIATION = 0.5, 0.3
# Classes with fewer pixels take the mean of all patients, or the covariance of all slices.
_PIXELS_FOR_MEAN, _PIXELS_FOR_COVARIANCE = 3, 20
# The darkest tissue; 0 is outside the head.
_DARKEST = 0.02
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
        complete = [n for n in lesion_slices.donors(label) if image[n].any(axis=(0, 1)).all()]
        if not complete:
            raise UserError("No training slice with a lesion shows all modalities. Give patients with all modalities.")
        self._donors = np.array(complete)
        self._moves = lesion_slices.Moves(image, label, positions, self._donors)
        self._classes = [int(k) for k in np.unique(label) if k]
        patients = np.asarray(patients)
        levels = {patient: self._healthy_level(np.flatnonzero(patients == patient)) for patient in np.unique(patients)}
        self._level = np.stack([levels[patient] for patient in patients])
        self._means = {n: self._class_means(n) for n in self._donors}
        of = patients[self._donors]
        by_patient = [
            _statistics([self._means[n] for n in self._donors[of == patient]])[0] for patient in np.unique(of)
        ]
        self._typical, self._between = (np.nan_to_num(values) for values in _statistics(by_patient))
        self._covariances = [self._pooled_covariance(k) for k in self._classes]

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
                means = self._draw_means(donor, rng)
                image = self._painted(own, self._level[recipient], shape.label, donor, means, rng)
                placed = shape.label > 0
                label = np.where(placed, shape.label, self._label[recipient])
                return LesionSlice(image.astype(np.float16), label, placed, recipient, donor, shape.transform)
        raise lesion_slices.fits_nowhere()

    def _placed(
        self, label: np.ndarray, head: np.ndarray, moves: Iterable[Move], rng: np.random.Generator
    ) -> _Shape | None:
        """A deformed lesion after the first move that leaves it within a head, if there is one."""
        shifts = self._smooth(rng.standard_normal((*head.shape, 2)), _SHIFT_SMOOTHNESS)
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

    def _draw_means(self, donor: int, rng: np.random.Generator) -> np.ndarray:
        """Mean brightness of each class minus that of healthy tissue: [C, n]."""
        source = int(rng.choice(self._donors)) if rng.random() < _OTHER_BRIGHTNESS else donor
        means = np.where(np.isnan(self._means[source]), self._typical, self._means[source])
        return means + _MEANS_DEVIATION * self._between * rng.standard_normal(means.shape)

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
        margin = max(1, round(_MARGIN * self._size))
        hole = scipy.ndimage.binary_dilation(lesion > 0, iterations=margin)
        known = (heads.head_of(own) & ~hole).astype(np.float32)[..., None]
        surroundings = self._smooth(own * known, _SURROUNDINGS) + _LITTLE * level
        result = surroundings / (self._smooth(known, _SURROUNDINGS) + _LITTLE)
        texture = self._smooth(rng.standard_normal(own.shape), rng.uniform(*_TEXTURE_SMOOTHNESS))
        texture /= texture.std()
        for index, k in enumerate(self._classes):
            where = lesion == k
            result[where] = level + means[index] + texture[where] @ self._factor(donor, index).T
        softened = self._smooth(result, _SOFTENING)
        for index, k in enumerate(self._classes):
            where = lesion == k
            if where.any():  # Thin rims would lose their brightness.
                softened[where] += level + means[index] - softened[where].mean(axis=0)
        return np.where(hole[..., None] & (own > 0), np.clip(softened, _DARKEST, 1.0), own)

    def _smooth(self, values: np.ndarray, sigma: float) -> np.ndarray:
        return scipy.ndimage.gaussian_filter(values, (sigma * self._size, sigma * self._size, 0))

    def _healthy_level(self, chosen: np.ndarray) -> np.ndarray:
        """Median of each modality over the heads without lesions, 0 without such tissue: [n]."""
        pixels = []
        for n in chosen:
            image = self._image[n].astype(np.float32)
            pixels.append(image[heads.head_of(image) & (self._label[n] == 0)])
        pixels = np.concatenate(pixels)
        return np.median(pixels, axis=0) if len(pixels) else np.zeros(self._image.shape[-1])

    def _class_means(self, n: int) -> np.ndarray:
        """Mean of each class minus the healthy level, NaN for classes that are missing: [C, n]."""
        pixels = [self._class_pixels(n, k) for k in self._classes]
        missing = np.full(self._image.shape[-1], np.nan)
        return np.stack([p.mean(axis=0) - self._level[n] if len(p) >= _PIXELS_FOR_MEAN else missing for p in pixels])

    def _factor(self, donor: int, index: int) -> np.ndarray:
        """Cholesky factor of the covariance of a class over modalities: [n, n]."""
        pixels = self._class_pixels(donor, self._classes[index])
        covariance = np.cov(pixels.T) if len(pixels) >= _PIXELS_FOR_COVARIANCE else self._covariances[index]
        return np.linalg.cholesky(np.atleast_2d(covariance) + 1e-6 * np.eye(self._image.shape[-1]))

    def _pooled_covariance(self, k: int) -> np.ndarray:
        """Covariance of a class within slices: [n, n]."""
        each = [self._class_pixels(n, k) for n in self._donors]
        deviations = np.concatenate([pixels - pixels.mean(axis=0) for pixels in each if len(pixels) > 1] or [each[0]])
        return np.cov(deviations.T) if len(deviations) > 1 else np.zeros((self._image.shape[-1],) * 2)

    def _class_pixels(self, n: int, k: int) -> np.ndarray:
        return self._image[n].astype(np.float32)[self._label[n] == k]


def _statistics(values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the arrays in which an entry is not NaN; NaN where there is none."""
    values = np.stack(values)
    known = ~np.isnan(values)
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    return mean, np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count)
