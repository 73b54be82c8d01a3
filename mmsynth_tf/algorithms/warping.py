"""Random affine transforms of slices and labels (method §5)."""

import math

import tensorflow as tf

from mmsynth_tf.configs import AugmentationConfig


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


def between_heads(
    transforms: tf.Tensor, size: tuple[int, int], source: tf.Tensor, target: tf.Tensor, ratio: tf.Tensor
) -> tf.Tensor:
    """Turns transforms about the image centre into transforms from one head to another.

    A label keeps its place in the head, but for what the transforms change, and grows with the head.

    Args:
      transforms: float32 [N, 8], as `random_transforms` draws them.
      size: image height and width, pixels.
      source: float32 [N, 2], centre (row, column) of the head that the label comes from.
      target: float32 [N, 2], centre of the head that it is moved to.
      ratio: float32 [N, 2], how much longer the label becomes along rows and columns.

    Returns:
      float32 [N, 8], from output to input pixels.
    """
    source, target, ratio = (tf.reverse(values, [1]) for values in (source, target, ratio))  # x before y.
    matrix = tf.reshape(transforms[:, :6], [-1, 2, 3])
    linear, offset = matrix[..., :2], matrix[..., 2]
    centre = tf.constant([(size[1] - 1) / 2.0, (size[0] - 1) / 2.0])
    offset = source + (tf.linalg.matvec(linear, centre - target) + offset - centre) / ratio
    moved = tf.concat([linear / ratio[..., None], offset[..., None]], axis=2)
    return tf.concat([tf.reshape(moved, [-1, 6]), transforms[:, 6:]], axis=1)


def transform(
    images: tf.Tensor, transforms: tf.Tensor, interpolation: str, output_size: tuple[int, int] | None = None
) -> tf.Tensor:
    """Applies `transforms` float32 [N, 8] to [N, H, W, C]; pixels from outside the image are 0.

    Args:
      images: [N, H, W, C].
      transforms: as `random_transforms` draws them.
      interpolation: "NEAREST" (labels) or "BILINEAR" (images).
      output_size: height and width of the result, pixels; by default those of the images.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=output_size or tf.shape(images)[1:3],
        interpolation=interpolation,
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
