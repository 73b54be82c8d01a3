"""From codes to maps and from maps to slices, as the synthetic data set and exported models both do (method §5, §7)."""

import tensorflow as tf

from mmsynth_tf.models import fusion
from mmsynth_tf.models.modality_gan import ModalityGAN
from mmsynth_tf.models.structure_gan import StructureGAN

BACKGROUND_THRESHOLD = 0.5


def sample_maps(structure_gan: StructureGAN, code: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes codes.

    Args:
      structure_gan: trained.
      code: float32 [B, L], standard normal.
      threshold: probability from which a pixel is an edge.

    Returns:
      Probability of an edge, and of background given the binary map; each float32 [B, H, W, 1].
    """
    structure = structure_gan.decode(code)
    return structure, structure_gan.mask_generator(_at_least(structure, threshold), training=False)


def binary_maps(structure: tf.Tensor, background: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes both probabilities of `sample_maps` binary: float32 [B, H, W, 1], {0, 1}."""
    return _at_least(structure, threshold), _at_least(background, BACKGROUND_THRESHOLD)


def synthesize(
    modality_gan: ModalityGAN,
    structure: tf.Tensor,
    background: tf.Tensor,
    label: tf.Tensor,
    noise: tf.Tensor | None = None,
    contrast: tf.Tensor | None = None,
) -> tf.Tensor:
    """Map and label to all modalities.

    Args:
      modality_gan: trained.
      structure: float32 [B, H, W, 1], binary; edges under the label's lesion are erased where training did so.
      background: float32 [B, H, W, 1], binary, 1 outside the head.
      label: integer [B, H, W, 1], classes; its lesion lies inside the head.
      noise: float32 [B, H, W, 1], uniform in [0, 1); needed where the configuration fuses noise.
      contrast: float32 [B, n, S], standard normal (`models.contrast`); needed where contrast is a condition.

    Returns:
      float32 [B, n, H, W, 1] in [0, 1], 0 outside the head.
    """
    if modality_gan.config.erase_under_label:
        structure = fusion.remove_lesion_edges(structure, label)
    batch = {"structure": structure, "background": background, "fusion_label": label}
    batch |= {"noise": noise, "contrast": contrast}
    return modality_gan.synthesize(batch)


def _at_least(probability: tf.Tensor, threshold: float) -> tf.Tensor:
    return tf.cast(probability >= threshold, tf.float32)
