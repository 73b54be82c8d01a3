"""Translates slices of patients to other modalities with a trained synthesis stage (method §6 and beyond)."""

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import fusion, guided_filter, structure_maps
from mmsynth_tf.configs import DataConfig, TranslationConfig, slice_sizes
from mmsynth_tf.stages.synthesis.gan import Features, ModalityGAN

# Least probability of a lesion, by the segmenter, at which a translation draws it. A false lesion does more harm than a
# missing one. Chosen on validation patients (docs/experiments/translation.md).
SURE = 0.98
# Sigma of the transition between a translated lesion and its surroundings, pixels of `slice_sizes.MEASURED_SIZE`.
_LESION_BORDER = 1.0


def guide_radius(image_size: tuple[int, int]) -> int:
    """Radius of the guided filter's windows, pixels: an eighth of the slice."""
    return max(1, min(image_size) // 8)


def sure_lesion(probabilities: np.ndarray, data: DataConfig, sure: float = SURE) -> np.ndarray:
    """The lesion that a segmenter is sure of.

    Where the lesion is sure but its class is not, it is of a class that the fewest regions hold. Regions of BraTS are
    nested, so this is edema. The most probable class gave rims in T1c where nothing enhances.

    Args:
      probabilities: of the classes, float [..., K]; class 0 is background. All 0 where nothing is shown.
      data: gives the regions.
      sure: least probability of a lesion of any class, and of its class.

    Returns:
      uint8 [...]: the lesion class where a lesion is sure, else 0.
    """
    specific = [sum(label in classes for classes in data.regions.values()) for label in range(data.num_classes)]
    broad = np.array([label for label in range(1, data.num_classes) if specific[label] == min(specific[1:])])
    lesions = probabilities[..., 1:]
    unsure = broad[lesions[..., broad - 1].argmax(axis=-1)]
    classes = np.where(lesions.max(axis=-1) >= sure, 1 + lesions.argmax(axis=-1), unsure)
    return np.where(lesions.sum(axis=-1) >= sure, classes, 0).astype(np.uint8)


def uncertainty(probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The segmenter's probability that a label is wrong about there being a lesion: float32 [...] in [0, 1].

    Args:
      probabilities: as for `sure_lesion`.
      label: integer [...], the lesion that is drawn.
    """
    lesion = probabilities[..., 1:].sum(axis=-1)
    return np.clip(np.where(label > 0, 1.0 - lesion, lesion), 0.0, 1.0).astype(np.float32)


class Translator:
    """The synthesis stage as a translator from any modalities to another.

    The networks take one slice. Each given modality is therefore translated on its own, and the results are averaged:
    each network sees what it was trained on, which a mean of features of several modalities is not. The average is
    then filtered with each given modality as guide. Each pixel follows mostly the guides that explain the average best.

    Args:
      gan: trained model.
      config: settings of translation.
    """

    def __init__(self, gan: ModalityGAN, config: TranslationConfig):
        self._gan, self._config = gan, config

    @property
    def needs_label(self) -> bool:
        """Whether `translate` needs the lesion label."""
        return self._config.map_share > 0

    def translate(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        """Translates slices.

        Args:
          images: float32 [B, H, W, n], registered slices of the given modalities, 0 where a modality is not given.
          target: int32 [B], target modality of each slice.
          label: integer [B, H, W, 1], the lesions of `images`, annotated or predicted by a segmenter; required if
            `needs_label`.

        Returns:
          float32 [B, H, W, 1] in [0, 1], 0 outside the head of `images`.

        Raises:
          ValueError: the label is required but not given.
        """
        if label is None:
            if self.needs_label:
                raise ValueError("Translations of this model need a lesion label; give zeros where there is no lesion.")
            label = tf.zeros_like(images[..., :1], tf.int32)
        rows, slices = _given_slices(images)
        label, target = tf.gather(label, rows), tf.gather(target, rows)
        drawn = self._drawn(slices, target, label) if self.needs_label else self._from_features(slices, target)
        heads, count = 1.0 - structure_maps.background_mask(slices), tf.shape(images)[0]
        mean = _mean_in_heads(drawn, heads, rows, count)
        if not self._config.guide_share:
            return mean
        guided, weights = self._guided(slices, heads, tf.gather(mean, rows), label)
        return _mean_in_heads(guided, heads * weights, rows, count)

    def _guided(
        self, images: tf.Tensor, heads: tf.Tensor, drawn: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decoded slices with the fine anatomy of the given slices, and the guides' weights: each [P, H, W, 1]."""
        lesion, size = tf.cast(label > 0, tf.float32), tuple(images.shape[1:3])
        radius, border = guide_radius(size), _LESION_BORDER * slice_sizes.relative_size(size)
        guided, weight = guided_filter.guided_filter(drawn, images, heads * (1.0 - lesion), radius)
        # Lesions are not filtered, because not every modality shows all of a lesion; the filter fades out around them.
        fading = 1.0 - tf.minimum(2.0 * structure_maps.gaussian_blur(lesion, border), 1.0)
        share = self._config.guide_share * fading
        return (1.0 - share) * drawn + share * tf.clip_by_value(guided, 0.0, 1.0), weight

    def _from_features(self, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Translates from the slices' own features alone, as in training."""
        return self._decoded(self._features_of(images), target)

    def _drawn(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Translates from the slices' features mixed with those of their maps and lesions."""
        label, edges, background = fusion.own_map(images, label, self._gan.structure_map_config)
        noise = tf.fill(tf.shape(edges), 0.5)  # The mean of the noise, so that translation is deterministic.
        fused = self._gan.fused_input(edges, background, label, noise)
        (of_map,) = self._gan.encode(self._gan.fusion_encoder, [fused[:, None]], training=False)
        share = self._config.map_share
        mixed = [(1.0 - share) * a + share * b for a, b in zip(self._features_of(images), of_map, strict=True)]
        return self._decoded(tuple(mixed), target)

    def _features_of(self, images: tf.Tensor) -> Features:
        (features,) = self._gan.encode(self._gan.image_encoder, [images[:, None]], training=False)
        return features

    def _decoded(self, features: Features, target: tf.Tensor) -> tf.Tensor:
        """Slices [P, H, W, 1] of modality `target` from features [P, 1, ...]."""
        # The mean contrast, because the patient's contrast of the target is unknown.
        contrasts = tf.zeros([tf.shape(target)[0], 1, self._gan.contrast_scale.size])
        (drawn,) = self._gan.decode([(features, target[:, None], contrasts)], training=False)
        return drawn[:, 0]


def _given_slices(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The row int64 [P] of each slice of `images` [B, H, W, n] that is not empty, and these slices [P, H, W, 1]."""
    given = tf.where(tf.reduce_any(images > 0, axis=(1, 2)))
    return given[:, 0], tf.gather_nd(tf.transpose(images, [0, 3, 1, 2]), given)[..., None]


def _mean_in_heads(drawn: tf.Tensor, heads: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Weighted mean over the given modalities of each row; at each pixel, over those whose head covers it.

    Args:
      drawn: float32 [P, H, W, 1].
      heads: float32 [P, H, W, 1], weights; 0 outside the heads of the given slices, where the result is 0.
      rows: int64 [P], in [0, count).
      count: number of rows B.

    Returns:
      float32 [B, H, W, 1].
    """
    total, weight = (tf.math.unsorted_segment_sum(values, rows, count) for values in (drawn * heads, heads))
    return tf.math.divide_no_nan(total, weight)
