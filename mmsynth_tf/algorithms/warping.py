"""Random affine transforms and warps of slices and labels (method §5)."""

import math

import tensorflow as tf

from mmsynth_tf.configs import AugmentationConfig

# Cells of the grid on each axis on which labels are warped: about as wide as a lesion.
_WARP_CELLS = 5


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


def transform(
    images: tf.Tensor, transforms: tf.Tensor, interpolation: str, output_size: tuple[int, int] | None = None
) -> tf.Tensor:
    """Applies `transforms` float32 [N, 8] to [N, H, W, C]; what comes from outside is 0.

    Args:
      images: [N, H, W, C].
      transforms: as `random_transforms` draws them.
      interpolation: "NEAREST" (labels) or "BILINEAR" (images).
      output_size: height and width of the result, pixels; those of the images if not given.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=output_size or tf.shape(images)[1:3],
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
