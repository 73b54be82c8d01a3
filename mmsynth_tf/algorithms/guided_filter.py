"""Transfers fine anatomy from a guide to a synthetic slice (after He et al., "Guided Image Filtering", 2013)."""

from typing import NamedTuple

import tensorflow as tf

# Variance of the guide below which a window counts as flat, for intensities in [0, 1].
_FLAT = 1e-3
# Weight of a guide that explains nothing of the image, so that the sum of weights is never 0.
_LEAST_WEIGHT = 1e-4


class Lines(NamedTuple):
    """A local linear function from guide to image around each pixel.

    Attributes:
      slope: float32 [B, H, W, 1].
      offset: float32 [B, H, W, 1].
      weight: float32 [B, H, W, 1], above 0 and at most about 1: the weight of this guide among several. It is the
        square of the share of the image's variance that the guide explains.
    """

    slope: tf.Tensor
    offset: tf.Tensor
    weight: tf.Tensor


def guided_filter(image: tf.Tensor, guide: tf.Tensor, mask: tf.Tensor, radius: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Filters the image as a locally linear function of the guide.

    Details that the guide does not show are smoothed away. Edges of the guide appear, with the sign of the local
    correlation between image and guide.

    Args: as for `lines`.

    Returns:
      The filtered image, float32 [B, H, W, 1], and the weight of this guide among several (see `Lines`).
    """
    found = lines(image, guide, mask, radius)
    return found.slope * guide + found.offset, found.weight


def lines(image: tf.Tensor, guide: tf.Tensor, mask: tf.Tensor, radius: int) -> Lines:
    """The local linear function from guide to image around each pixel.

    Least squares (He et al.) lose contrast where the edges of image and guide are misaligned. Here each window keeps
    the contrast of the image instead.

    Args:
      image: float32 [B, H, W, 1].
      guide: float32 [B, H, W, 1], intensities in about [0, 1], of the same anatomy.
      mask: float32 [B, H, W, 1], 1 for pixels to use; the result is undefined elsewhere.
      radius: windows are squares of 2 radius + 1 pixels.
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
    explained = tf.math.divide_no_nan(covariance**2, (variance + _FLAT) * tf.maximum(variance_image, 0.0))
    # Average over all windows that contain a pixel; slopes of opposite sign cancel.
    averaged = mean(tf.concat([slope, mean_image - slope * mean_guide, explained], axis=-1))
    slope, offset, explained = tf.split(averaged, 3, axis=-1)
    return Lines(slope, offset, explained**2 + _LEAST_WEIGHT)


def _window_mean(x: tf.Tensor, radius: int) -> tf.Tensor:
    """Mean over a square window, cut off at the image's edges, around each pixel of [B, H, W, C]."""
    size = 2 * radius + 1
    rows = tf.nn.avg_pool2d(x, [size, 1], strides=1, padding="SAME")
    return tf.nn.avg_pool2d(rows, [1, size], strides=1, padding="SAME")
