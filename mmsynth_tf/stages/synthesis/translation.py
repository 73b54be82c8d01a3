"""Translates slices of patients to other modalities with a trained synthesis stage (method §6 and beyond)."""

import tensorflow as tf

from mmsynth_tf.algorithms import fusion, guided_filter, structure_maps
from mmsynth_tf.configs import TranslationConfig, slice_sizes
from mmsynth_tf.stages.synthesis.gan import Features, ModalityGAN

# Weight of the background class when lesions are detected for translation. Below 1, uncertain lesions are drawn, too:
# a missed lesion costs more than a faint one.
BACKGROUND_WEIGHT = 0.01
# Upper limit of the additional contrast between lesions and healthy tissue, in standard deviations of real contrasts.
# Without it lesions are too faint, as the mean of all plausible lesions is.
_LESION_EMPHASIS = 1.0
# Sigma of the transition between a translated lesion and its surroundings, pixels of `slice_sizes.MEASURED_SIZE`.
_LESION_BORDER = 1.0


def guide_radius(image_size: tuple[int, int]) -> int:
    """Radius of the guided filter's windows, pixels: an eighth of the slice."""
    return max(1, min(image_size) // 8)


class Translator:
    """The synthesis stage as a translator.

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
          images: float32 [B, H, W, 1], of any modality.
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
            label = tf.zeros(tf.shape(images), tf.int32)
        drawn = self._drawn(images, target, label) if self.needs_label else self._from_features(images, target)
        return self._guided(images, drawn, label) if self._config.guide_share else drawn

    def _guided(self, images: tf.Tensor, drawn: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Decoded slices with the fine anatomy of the source slices (guided filter)."""
        lesion, head = tf.cast(label > 0, tf.float32), 1.0 - structure_maps.background_mask(images)
        size = tuple(images.shape[1:3])
        radius, border = guide_radius(size), _LESION_BORDER * slice_sizes.relative_size(size)
        guided = guided_filter.guided_filter(drawn, images, head * (1.0 - lesion), radius)
        # Lesions are not filtered, because not every modality shows all of a lesion; the filter fades out around them.
        fading = 1.0 - tf.minimum(2.0 * structure_maps.gaussian_blur(lesion, border), 1.0)
        share = self._config.guide_share * fading
        return head * ((1.0 - share) * drawn + share * tf.clip_by_value(guided, 0.0, 1.0))

    def _from_features(self, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Translates from the slices' own features alone, as in training."""
        return self._decoded(images, self._features_of(images), target, self._mean_contrast(images))

    def _drawn(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Translates from the slices' features mixed with those of their maps and lesions; lesions are emphasised."""
        scale, own, contrasts = self._gan.contrast_scale, self._features_of(images), self._mean_contrast(images)
        label, edges, background = fusion.own_map(images, label, self._gan.structure_map_config)
        features = self._mixed(own, edges, background, label)
        drawn = self._decoded(images, features, target, contrasts)
        healthy = self._mixed(own, edges, background, tf.zeros_like(label))
        without = self._decoded(images, healthy, target, contrasts)
        with_lesion, present = scale.describe(drawn, label, background)
        without_it, _ = scale.describe(without, label, background)
        emphasis = _LESION_EMPHASIS * scale.direction(with_lesion - without_it, target) * present
        return self._decoded(images, features, target, contrasts + emphasis[:, None])

    def _features_of(self, images: tf.Tensor) -> Features:
        (features,) = self._gan.encode(self._gan.image_encoder, [images[:, None]], training=False)
        return features

    def _mean_contrast(self, images: tf.Tensor) -> tf.Tensor:
        """The mean contrast [B, 1, S], because the contrast of the patient's other modalities is unknown."""
        return tf.zeros([tf.shape(images)[0], 1, self._gan.contrast_scale.size])

    def _mixed(self, own: Features, edges: tf.Tensor, background: tf.Tensor, label: tf.Tensor) -> Features:
        """Features of slices mixed with those of their maps [B, H, W, 1] and lesions."""
        noise = tf.fill(tf.shape(edges), 0.5)  # The mean of the noise, so that translation is deterministic.
        fused = self._gan.fused_input(edges, background, label, noise)
        (of_map,) = self._gan.encode(self._gan.fusion_encoder, [fused[:, None]], training=False)
        share = self._config.map_share
        return tuple((1.0 - share) * a + share * b for a, b in zip(own, of_map, strict=True))

    def _decoded(self, images: tf.Tensor, features: Features, target: tf.Tensor, contrasts: tf.Tensor) -> tf.Tensor:
        """Slices [B, H, W, 1] of modality `target` from features [B, 1, ...], 0 outside the head of `images`."""
        (drawn,) = self._gan.decode([(features, target[:, None], contrasts)], training=False)
        return drawn[:, 0] * (1.0 - structure_maps.background_mask(images))
