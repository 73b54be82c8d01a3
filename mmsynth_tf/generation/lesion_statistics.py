"""Brightness and texture of real lesions, for lesions that are painted or generated (beyond the paper).

Each class of a lesion has a mean brightness relative to healthy tissue, and a covariance over modalities.
"""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import heads, lesion_slices

# Standard deviations of Gaussian kernels, in pixels of `slice_sizes.MEASURED_SIZE`.
TEXTURE_SMOOTHNESS = (0.7, 2.0)
SOFTENING = 0.6  # Of the borders between classes, where a pixel shows several tissues.
# Brightness of the darkest tissue; 0 is outside the head.
DARKEST = 0.02
# Fraction of lesions whose brightness comes from another donor than their shape. Random deviation of class means from
# the donor's, in standard deviations between patients.
_OTHER_BRIGHTNESS, _MEANS_DEVIATION = 0.5, 0.3
# Classes with fewer pixels take the mean of all patients, or the covariance of all slices.
_PIXELS_FOR_MEAN, _PIXELS_FOR_COVARIANCE = 3, 20


class LesionStatistics:
    """Brightness and texture of the lesions of real slices.

    Args:
      image: float [N, H, W, n] in [0, 1], registered slices, which may be on disk; 0 outside the head and where a
        modality is missing.
      label: uint8 [N, H, W].
      patients: the patient of each slice, N names.
      groups: the group of each slice, N names, by default the patients; a group shares one healthy brightness.

    Attributes:
      donors: int64 [D], the slices with a lesion and all modalities.
      classes: C values of the label.
      level: float [N, n], the brightness of healthy tissue in each slice's group.

    Raises:
      UserError: no slice with all modalities has a lesion.
    """

    def __init__(
        self, image: np.ndarray, label: np.ndarray, patients: Sequence[str], groups: Sequence[str] | None = None
    ):
        self._image, self._label = image, label
        self._size = slice_sizes.relative_size(label.shape[1:])
        complete = [n for n in lesion_slices.donors(label) if image[n].any(axis=(0, 1)).all()]
        if not complete:
            raise UserError("No training slice with a lesion shows all modalities. Give patients with all modalities.")
        self.donors = np.array(complete)
        self.classes = [int(k) for k in np.unique(label) if k]
        patients, groups = np.asarray(patients), np.asarray(patients if groups is None else groups)
        levels = {group: self._healthy_level(np.flatnonzero(groups == group)) for group in np.unique(groups)}
        self.level = np.stack([levels[group] for group in groups])
        self._means = {n: self._class_means(n) for n in self.donors}
        of = patients[self.donors]
        by_patient = [_statistics([self._means[n] for n in self.donors[of == patient]])[0] for patient in np.unique(of)]
        self._typical, between = _statistics(by_patient)
        self._between = np.nan_to_num(between)
        pooled = [self._pooled_covariance(k) for k in self.classes]
        self._factors = {
            n: [self._factor(n, k, other) for k, other in zip(self.classes, pooled, strict=True)] for n in self.donors
        }
        # Numbers are enough from here on, so that slices on disk can be freed.
        del self._image, self._label

    def draw_means(self, donor: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mean brightness of each class minus that of healthy tissue: [C, n], NaN for a class that no donor shows.

        Also returns the brightness of healthy tissue, [n], in the group of the slice that the means come from.
        """
        source = int(rng.choice(self.donors)) if rng.random() < _OTHER_BRIGHTNESS else donor
        means = np.where(np.isnan(self._means[source]), self._typical, self._means[source])
        return means + _MEANS_DEVIATION * self._between * rng.standard_normal(means.shape), self.level[source]

    def draw_texture(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Smooth noise of variance 1 in every channel: [H, W, n]."""
        texture = self.smooth(rng.standard_normal(shape), rng.uniform(*TEXTURE_SMOOTHNESS))
        return texture / texture.std()

    def factor(self, donor: int, index: int) -> np.ndarray:
        """Cholesky factor of the covariance over modalities of the class `classes[index]` in a donor: [n, n]."""
        return self._factors[donor][index]

    def smooth(self, values: np.ndarray, sigma: float) -> np.ndarray:
        """Blurs [H, W, n] by `sigma` pixels of `slice_sizes.MEASURED_SIZE`."""
        return scipy.ndimage.gaussian_filter(values, (sigma * self._size, sigma * self._size, 0))

    def _healthy_level(self, chosen: np.ndarray) -> np.ndarray:
        """Median of each modality over healthy tissue of the chosen slices, [n]; 0 if they have none."""
        pixels = []
        for n in chosen:
            image = self._image[n].astype(np.float32)
            pixels.append(image[heads.head_of(image) & (self._label[n] == 0)])
        pixels = np.concatenate(pixels)
        return np.median(pixels, axis=0) if len(pixels) else np.zeros(self._image.shape[-1])

    def _class_means(self, n: int) -> np.ndarray:
        """Mean of each class minus the healthy level: [C, n]; NaN for missing or very small classes."""
        pixels = [self._class_pixels(n, k) for k in self.classes]
        missing = np.full(self._image.shape[-1], np.nan)
        return np.stack([p.mean(axis=0) - self.level[n] if len(p) >= _PIXELS_FOR_MEAN else missing for p in pixels])

    def _pooled_covariance(self, k: int) -> np.ndarray:
        """Covariance of a class within slices: [n, n]."""
        each = [self._class_pixels(n, k) for n in self.donors]
        deviations = np.concatenate([pixels - pixels.mean(axis=0) for pixels in each if len(pixels) > 1] or [each[0]])
        return np.cov(deviations.T) if len(deviations) > 1 else np.zeros((self._image.shape[-1],) * 2)

    def _factor(self, n: int, k: int, pooled: np.ndarray) -> np.ndarray:
        pixels = self._class_pixels(n, k)
        covariance = np.cov(pixels.T) if len(pixels) >= _PIXELS_FOR_COVARIANCE else pooled
        return np.linalg.cholesky(np.atleast_2d(covariance) + 1e-6 * np.eye(self._image.shape[-1]))

    def _class_pixels(self, n: int, k: int) -> np.ndarray:
        return self._image[n].astype(np.float32)[self._label[n] == k]


def _statistics(values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry over the arrays, NaN ignored; NaN if all are NaN."""
    values = np.stack(values)
    known = ~np.isnan(values)
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    return mean, np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count)
