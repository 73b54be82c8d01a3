"""Fusion of structure map and lesion label (paper §2.5, method §5)."""

import tensorflow as tf

from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import StructureMapConfig


def fuse(
    structure_map: tf.Tensor,
    label: tf.Tensor,
    num_classes: int,
    *,
    structure_weight: float = 0.8,
    label_weight: float = 0.2,
    concatenate: bool = False,
) -> tf.Tensor:
    """Builds the synthesis network's input.

    Args:
      structure_map: float32 [B, H, W, 1] in [0, 1], without the edges of its own lesion.
      label: integer [B, H, W, 1], classes 0..num_classes-1.
      num_classes: K.
      structure_weight: w_f.
      label_weight: w_l.
      concatenate: append the one-hot label to the map (the authors' later version).

    Returns:
      float32 [B, H, W, K], channel c is w_f f + w_l [l = c]; with `concatenate`
      float32 [B, H, W, 1 + K].
    """
    one_hot = one_hot_label(label, num_classes)
    if concatenate:
        return tf.concat([structure_map, one_hot], axis=-1)
    return structure_weight * structure_map + label_weight * one_hot


def one_hot_label(label: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Integer [..., H, W, 1] to float32 [..., H, W, num_classes]."""
    return tf.one_hot(tf.cast(label[..., 0], tf.int32), num_classes)


def noise_fill(structure_map: tf.Tensor, background: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Puts noise where the head has no edge: s' = s + U(0.5, 0.6) (1 - m)(1 - s) (the authors' later version).

    Args:
      structure_map: float32 [B, H, W, 1] in [0, 1].
      background: float32 [B, H, W, 1], 1 outside the head.
      noise: float32 [B, H, W, 1], uniform in [0, 1).
    """
    return structure_map + (0.5 + 0.1 * noise) * (1.0 - background) * (1.0 - structure_map)


def remove_lesion_edges(structure_map: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """f = m_l f': erases the edges of a slice's own lesion from its map; float32 [B, H, W, 1]."""
    return structure_map * structure_maps.lesion_free_mask(label)


def own_map(image: tf.Tensor, label: tf.Tensor, config: StructureMapConfig) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inputs of synthesis that reconstruct slices.

    Args:
      image: float32 [B, H, W, 1] in [0, 1].
      label: integer [B, H, W, 1], lesions of the slices.
      config: settings of map extraction.

    Returns:
      label: the given label, 0 outside the head.
      structure: float32 [B, H, W, 1], binary, without the edges of the lesion.
      background: float32 [B, H, W, 1], binary, 1 outside the head.
    """
    background = structure_maps.background_of(image, config)
    # Annotations may extend beyond the head, but labels for synthesis must not.
    label = tf.where(background > 0, tf.zeros_like(label), label)
    return label, remove_lesion_edges(structure_maps.structure_map(image, config), label), background


def fits(background: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Which labels lie inside which heads: sum(m [l > 0]) = 0.

    Args:
      background: float32 [B, H, W, 1], 1 outside the head.
      label: integer [C, H, W, 1].

    Returns:
      bool [B, C].
    """
    outside = tf.reshape(background, [tf.shape(background)[0], -1])
    lesion = tf.reshape(tf.cast(label > 0, tf.float32), [tf.shape(label)[0], -1])
    return tf.matmul(outside, lesion, transpose_b=True) < 0.5


def choose_labels(background: tf.Tensor, label: tf.Tensor, own: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Draws for each head one of the labels that fit it.

    Args:
      background: float32 [B, H, W, 1], 1 outside the head.
      label: integer [C, H, W, 1], the candidates.
      own: integer [B, H, W, 1], taken where no candidate fits (a head's own label always does).
      seed: int [2], stateless seed.

    Returns:
      chosen: integer [B, H, W, 1].
      found: bool [B], whether a candidate fitted.
    """
    accepted = fits(background, label)
    scores = tf.random.stateless_uniform(tf.shape(accepted), seed)
    scores = tf.where(accepted, scores, -1.0)
    drawn = tf.gather(label, tf.argmax(scores, axis=1))
    found = tf.reduce_any(accepted, axis=1)
    return tf.where(found[:, None, None, None], drawn, own), found
