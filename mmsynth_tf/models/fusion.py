"""Fusion of structure map and lesion label (paper §2.5, method §5)."""

import math

import tensorflow as tf

from mmsynth_tf.configs import AugmentationConfig, StructureMapConfig
from mmsynth_tf.models import structure

# Cells of the grid on each axis on which labels are warped: about as wide as a lesion.
_WARP_CELLS = 5


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
    return structure_map * structure.lesion_free_mask(label)


def own_map(image: tf.Tensor, label: tf.Tensor, config: StructureMapConfig) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What synthesis needs to make slices anew.

    Args:
      image: float32 [B, H, W, 1] in [0, 1].
      label: integer [B, H, W, 1], its lesions.
      config: how maps are extracted.

    Returns:
      label: as given, without what lies outside the head.
      structure: float32 [B, H, W, 1], binary, without the edges of the lesion.
      background: float32 [B, H, W, 1], binary, 1 outside the head.
    """
    background = structure.background_of(image, config)
    # Annotations may reach beyond the head; no label does.
    label = tf.where(background > 0, tf.zeros_like(label), label)
    return label, remove_lesion_edges(structure.structure_map(image, config, background), label), background


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


def random_transforms(
    count: tf.Tensor | int, size: tuple[int, int], config: AugmentationConfig, seed: tf.Tensor
) -> tf.Tensor:
    """Draws random scalings, rotations, translations and flips about the image centre.

    Args:
      count: number of transforms.
      size: image height and width, pixels.
      config: ranges.
      seed: int [2], stateless seed.

    Returns:
      float32 [count, 8]: projective transforms from output to input pixels (x, y order).
    """
    height, width = size
    draws = tf.random.stateless_uniform([count, 5], seed, -1.0, 1.0)
    scale = tf.exp(draws[:, 0] * math.log1p(config.scale))
    angle = draws[:, 1] * (config.rotation * math.pi / 180.0)
    shift_x, shift_y = draws[:, 2] * config.translation * width, draws[:, 3] * config.translation * height
    mirror = tf.where(draws[:, 4] < 0.0, -1.0, 1.0) if config.flip else tf.ones_like(scale)
    a, b = scale * tf.cos(angle) * mirror, -scale * tf.sin(angle)
    c, d = scale * tf.sin(angle) * mirror, scale * tf.cos(angle)
    centre_x, centre_y = (width - 1) / 2.0, (height - 1) / 2.0
    offset_x = centre_x + shift_x - a * centre_x - b * centre_y
    offset_y = centre_y + shift_y - c * centre_x - d * centre_y
    zero = tf.zeros_like(a)
    return tf.stack([a, b, offset_x, c, d, offset_y, zero, zero], axis=1)


def transform(images: tf.Tensor, transforms: tf.Tensor, interpolation: str) -> tf.Tensor:
    """Applies `transforms` float32 [N, 8] to [N, H, W, C]; what comes from outside is 0.

    Args:
      interpolation: "NEAREST" (labels) or "BILINEAR" (images).
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        interpolation=interpolation,
        fill_mode="CONSTANT",
        fill_value=0.0,
    )


def random_displacements(count: int, size: tuple[int, int], strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws smooth fields of displacements: normal numbers on a coarse grid, enlarged by cubic interpolation.

    Args:
      count: number of fields.
      size: image height and width, pixels.
      strength: standard deviation on the grid, share of the image size.
      seed: int [2], stateless seed.

    Returns:
      float32 [count, H, W, 2]: from each pixel to where its value comes from, rows and columns, pixels.
    """
    coarse = tf.random.stateless_normal([count, _WARP_CELLS, _WARP_CELLS, 2], seed)
    return strength * tf.constant(size, tf.float32) * tf.image.resize(coarse, size, tf.image.ResizeMethod.BICUBIC)


def warp_labels(labels: tf.Tensor, displacements: tf.Tensor) -> tf.Tensor:
    """Warps labels [N, H, W, 1] by `random_displacements`, without interpolation; what comes from outside is 0."""
    height, width = labels.shape[1:3]
    rows, columns = tf.meshgrid(tf.range(float(height)), tf.range(float(width)), indexing="ij")
    source = tf.cast(tf.round(tf.stack([rows, columns], axis=-1) + displacements), tf.int32)
    inside = tf.reduce_all((source >= 0) & (source < [height, width]), axis=-1, keepdims=True)
    source = tf.clip_by_value(source, 0, [height - 1, width - 1])
    return tf.where(inside, tf.gather_nd(labels, source, batch_dims=1), tf.zeros([], labels.dtype))
