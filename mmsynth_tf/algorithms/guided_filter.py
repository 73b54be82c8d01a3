"""Gives a drawn slice the fine anatomy of another one (after He et al., "Guided Image Filtering", 2013)."""

import tensorflow as tf

# Variance of the guide below which a window counts as flat, for intensities in [0, 1].
_FLAT = 1e-3


def guided_filter(image: tf.Tensor, guide: tf.Tensor, mask: tf.Tensor, radius: int) -> tf.Tensor:
    """The image as a function of the guide that is linear in every small window.

    What the image shows and the guide does not is smoothed away; edges of the guide appear, in whichever direction
    image and guide go together around them.

    Args and Returns: as `lines`, but the image's new values.
    """
    slope, offset = lines(image, guide, mask, radius)
    return slope * guide + offset


def lines(image: tf.Tensor, guide: tf.Tensor, mask: tf.Tensor, radius: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How the image follows from the guide around each pixel.

    A window keeps the image's contrast. He et al. fit by least squares, which leaves the less of it the further what is
    drawn lies from where the guide has it.

    Args:
      image: float32 [B, H, W, 1].
      guide: float32 [B, H, W, 1], intensities in about [0, 1], of the same anatomy.
      mask: float32 [B, H, W, 1], 1 where both count; elsewhere the result means nothing.
      radius: windows are squares of 2 radius + 1 pixels.

    Returns:
      slope and offset, float32 [B, H, W, 1].
    """
    weight = _window_mean(mask, radius)

    def mean(x: tf.Tensor) -> tf.Tensor:
        return tf.math.divide_no_nan(_window_mean(x * mask, radius), weight)

    means = mean(tf.concat([guide, image], axis=-1))
    products = mean(tf.concat([guide * guide, image * image, guide * image], axis=-1))
    mean_guide, mean_image = tf.split(means, 2, axis=-1)
    variance, variance_image, covariance = tf.split(products, 3, axis=-1)
    variance -= mean_guide**2
    variance_image -= mean_image**2
    covariance -= mean_guide * mean_image
    slope = tf.sign(covariance) * tf.sqrt(tf.maximum(variance_image, 0.0) / (variance + _FLAT))
    # Each pixel lies in many windows: the mean of what they say of it, little where they disagree about the direction.
    slope, offset = tf.split(mean(tf.concat([slope, mean_image - slope * mean_guide], axis=-1)), 2, axis=-1)
    return slope, offset


def _window_mean(x: tf.Tensor, radius: int) -> tf.Tensor:
    """Mean over a square window, cut off at the image's edges, around each pixel of [B, H, W, C]."""
    size = 2 * radius + 1
    rows = tf.nn.avg_pool2d(x, [size, 1], strides=1, padding="SAME")
    return tf.nn.avg_pool2d(rows, [1, size], strides=1, padding="SAME")
