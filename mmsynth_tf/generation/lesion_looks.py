"""Gives generated lesions the brightness and texture of real ones (beyond the paper).

On average generated lesions have the brightness of real ones, but they vary too little from slice to slice, and within
a class: in T2 and FLAIR they look flat (docs/experiments/lesion_looks.md).
"""

import logging
from collections.abc import Mapping

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import anatomy, heads
from mmsynth_tf.generation.label_pool import LabelPool
from mmsynth_tf.generation.lesion_statistics import DARKEST, SOFTENING, LesionStatistics

_LOG = logging.getLogger(__name__)

# Largest factor by which brightness and texture are scaled to those of another slice.
_LARGEST_RATIO = 2.0


class LesionLooks:
    """Shifts the classes of lesions to a randomly drawn brightness, and adds the missing texture.

    Args:
      images: float16 [N, n, H, W, 1] in [0, 1], real slices of all modalities, which may be on disk.
      pool: their labels and sources.
      patients: patient of each case.

    Raises:
      UserError: no slice has a lesion.
    """

    def __init__(self, images: np.ndarray, pool: LabelPool, patients: Mapping[str, str]):
        owners = pool.patients(patients)
        image, label = np.moveaxis(images[..., 0], 1, -1), pool.labels.numpy()[..., 0]
        # As in generated slices, brightness is relative to the healthy tissue of the slice, if it has any.
        healthy = [np.any(heads.head_of(one) & (own == 0)) for one, own in zip(image, label, strict=True)]
        groups = np.where(healthy, pool.sources, owners).tolist()
        self._statistics = LesionStatistics(image, label, owners, groups)
        self._donors = {pool.sources[n]: int(n) for n in self._statistics.donors}

    def applied(
        self, image: np.ndarray, label: np.ndarray, lesion: np.ndarray, source: str, rng: np.random.Generator
    ) -> np.ndarray:
        """Returns the slice with a lesion that looks like a real one.

        Args:
          image: float32 [H, W, n] in [0, 1], all modalities.
          label: uint8 [H, W].
          lesion: bool [H, W], the generated part of the label.
          source: slice of the lesion's shape, which gives the texture and often the brightness. If it is not among
            the real slices, or its lesion is too small, a random slice replaces it.
          rng: generator of all random draws.

        Returns:
          float32 [H, W, n]; the given slice if it has no lesion, or no healthy tissue to compare with.
        """
        statistics = self._statistics
        healthy = heads.head_of(image) & (image > DARKEST).all(axis=-1) & (label == 0)
        if not healthy.any() or not lesion.any():
            return image
        donor = self._donors[source] if source in self._donors else int(rng.choice(statistics.donors))
        level, (means, there) = np.median(image[healthy], axis=0), statistics.draw_means(donor, rng)
        means = means * _brightness_ratio(level, there)
        brighter = _brightness_ratio(level, statistics.level[donor])[:, None]
        texture, change = statistics.draw_texture(image.shape, rng), np.zeros(image.shape)
        for index, k in enumerate(statistics.classes):
            where = lesion & (label == k)
            if where.any() and not np.isnan(means[index]).any():
                factor = brighter * statistics.factor(donor, index)
                # Add only the missing variance.
                missing = np.sqrt(np.clip(1.0 - image[where].var(axis=0) / (factor**2).sum(axis=1), 0.0, 1.0))
                change[where] = level + means[index] - image[where].mean(axis=0)
                change[where] += texture[where] @ factor.T * missing
        # Smoothing takes some brightness from rims. Segmenters learned no more when rims kept all of it.
        changed = image + statistics.smooth(change, SOFTENING)
        return np.where(image > DARKEST, np.clip(changed, DARKEST, 1.0), image).astype(image.dtype)


def _brightness_ratio(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Ratio of healthy brightness in each modality, [n]; scanners scale healthy and other tissue alike."""
    return np.clip(here / np.maximum(there, DARKEST), 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)


def looks_of(data: prepared.PreparedData) -> LesionLooks | None:
    """`LesionLooks` of a data set's training slices; None if no slice has both a lesion and all modalities."""
    try:
        return LesionLooks(*anatomy.labelled_slices(data), data.record["patients"])
    except UserError as error:
        _LOG.warning("Generated lesions keep the brightness and texture that the networks give them. %s", error)
        return None
