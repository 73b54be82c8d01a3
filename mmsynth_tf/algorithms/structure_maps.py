"""Algorithms 1 and 2: structure maps and background masks (paper §2.2, §2.3; method §1, §2).

All functions process every image of a batch independently. Background masks are
1 OUTSIDE the head, 0 inside.
"""

from collections.abc import Sequence

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import StructureMapConfig

# Width of the soft threshold. At the default beta of 0.1 homogeneous tissue has a value of about 0.01.
_TEMPERATURE = 0.02


def structure_map(
    image: tf.Tensor,
    config: StructureMapConfig,
    *,
    blur_before: float = 0.0,
    blur_after: float = 0.0,
    blur_after_threshold: float = 0.05,
    median: int = 0,
    background: tf.Tensor | None = None,
) -> tf.Tensor:
    """Extracts the structure map of each image (Algorithm 1).

    The filters are those of the authors' code; no preset uses them.

    Args:
      image: float32 [B, H, W, 1].
      config: threshold beta.
      blur_before: sigma of a Gaussian blur of the Sobel maps, pixels; 0 is none.
      blur_after: sigma of a Gaussian blur of the binary map, pixels; 0 is none.
      blur_after_threshold: makes the blurred map binary again.
      median: window of a median filter of the binary map, pixels (odd); 0 is none.
      background: float32 [B, H, W, 1], 1 outside the head, where edges are erased; None keeps all edges.

    Returns:
      float32 [B, H, W, 1], binary {0, 1}: 1 on edges.
    """
    falling, rising = _edge_strengths(image, blur_before)
    edges = tf.cast((falling > config.beta) | (rising > config.beta), tf.float32)
    if blur_after:
        edges = tf.cast(gaussian_blur(edges, blur_after) > blur_after_threshold, tf.float32)
    if median:
        edges = _binary_median(edges, median)
    if background is not None:
        edges = edges * (1.0 - background)
    return edges


def soft_structure_map(image: tf.Tensor, config: StructureMapConfig, temperature: float = _TEMPERATURE) -> tf.Tensor:
    """Differentiable Algorithm 1: sigmoids of width `temperature` in place of the thresholds.

    The hard map has no gradient, so a loss on it trains nothing.

    Args and Returns: as for `structure_map`, but values lie in (0, 1), and there are no filters.
    """
    falling, rising = _edge_strengths(image)
    no_falling, no_rising = (tf.sigmoid((config.beta - s) / temperature) for s in (falling, rising))
    return 1.0 - no_falling * no_rising


def expansion(image_size: Sequence[int], config: StructureMapConfig) -> tuple[int, int]:
    """Number of pixels by which Algorithm 2 enlarges slices of (H, W) pixels before it crops them: (p_H, p_W).

    The head grows by the same fraction at every size. If p is above 0, it grows by at least one pixel, the narrowest
    possible rim.
    """
    if not config.background_expand:
        return 0, 0
    height, width = (max(1, round(config.background_expand * pixels / constants.PAPER_SIZE)) for pixels in image_size)
    return height, width


def background_of(image: tf.Tensor, config: StructureMapConfig) -> tf.Tensor:
    """The background mask of each image [B, H, W, 1] under the settings: float32, 1 outside the head, 0 inside."""
    expand = expansion(image.shape[1:3], config)
    return background_mask(image, expand=expand, fill_holes=config.fill_holes)


def background_mask(
    image: tf.Tensor, threshold: float = 0.0, expand: tuple[int, int] = (0, 0), fill_holes: bool = True
) -> tf.Tensor:
    """Computes the background mask of each image (Algorithm 2).

    Args:
      image: [B, H, W, 1], any real dtype.
      threshold: t; pixels at or below it are background. Prepared slices are 0 there.
      expand: p of rows and of columns, pixels; the foreground grows by about p/2 pixels on each side.
      fill_holes: whether dark regions enclosed by the head belong to the head.

    Returns:
      float32 [B, H, W, 1], 1 outside the head, 0 inside.
    """
    background = tf.cast(tf.cast(image, tf.float32) <= threshold, tf.float32)
    if fill_holes:
        background = connected_to(_border(background), background)
    if any(expand):
        (height, width), (rows, columns) = image.shape[1:3], expand
        background = tf.image.resize(background, (height + rows, width + columns), method="nearest")
        background = tf.image.crop_to_bounding_box(background, rows // 2, columns // 2, height, width)
    return background


def connected_to(seeds: tf.Tensor, region: tf.Tensor) -> tf.Tensor:
    """Keeps the parts of a region that hold a seed; pixels are 4-connected.

    Args:
      seeds, region: float32 [B, H, W, 1], binary {0, 1}.

    Returns:
      float32 [B, H, W, 1], binary.
    """

    def grow(reached: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spread = tf.maximum(
            tf.nn.max_pool2d(reached, (3, 1), strides=1, padding="SAME"),
            tf.nn.max_pool2d(reached, (1, 3), strides=1, padding="SAME"),
        )
        grown = spread * region
        return grown, tf.reduce_any(grown > reached)

    reached, _ = tf.while_loop(lambda _, changed: changed, grow, (seeds * region, tf.constant(True)))
    return reached


def lesion_free_mask(label: tf.Tensor) -> tf.Tensor:
    """m_l: 1 outside the lesion (Algorithm 2 with p = 0 on a label map).

    Args:
      label: integer [B, H, W, 1], 0 is background.

    Returns:
      float32 [B, H, W, 1], binary.
    """
    return background_mask(label, fill_holes=False)


def gaussian_blur(image: tf.Tensor, sigma: float) -> tf.Tensor:
    """Blurs float32 [B, H, W, 1] with a Gaussian of `sigma` pixels, reflecting at the borders; 0 changes nothing."""
    if not sigma:
        return image
    radius = max(1, round(3.0 * sigma))
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / tf.reduce_sum(kernel)
    padded = tf.pad(image, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="REFLECT")
    rows = tf.nn.conv2d(padded, tf.reshape(kernel, [-1, 1, 1, 1]), strides=1, padding="VALID")
    return tf.nn.conv2d(rows, tf.reshape(kernel, [1, -1, 1, 1]), strides=1, padding="VALID")


def _edge_strengths(image: tf.Tensor, blur: float = 0.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Strength of falling and rising edges relative to the image's mean: two float32 [B, H, W, 1]."""
    gradients = tf.image.sobel_edges(tf.convert_to_tensor(image))  # [B, H, W, 1, 2], signed dy and dx.
    lowest = _scale_to_unit(tf.reduce_min(gradients, axis=-1))
    highest = _scale_to_unit(tf.reduce_max(gradients, axis=-1))
    lowest, highest = gaussian_blur(lowest, blur), gaussian_blur(highest, blur)
    return _image_mean(lowest) - lowest, highest - _image_mean(highest)


def _image_mean(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(image, axis=(1, 2, 3), keepdims=True)


def _scale_to_unit(image: tf.Tensor) -> tf.Tensor:
    """Scales each image to [0, 1]; a constant image becomes 0."""
    low = tf.reduce_min(image, axis=(1, 2, 3), keepdims=True)
    high = tf.reduce_max(image, axis=(1, 2, 3), keepdims=True)
    return tf.math.divide_no_nan(image - low, high - low)


def _binary_median(image: tf.Tensor, window: int) -> tf.Tensor:
    """Median of a binary map: the majority in each window, with reflection at the borders."""
    radius = window // 2
    padded = tf.pad(image, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="REFLECT")
    return tf.cast(tf.nn.avg_pool2d(padded, window, strides=1, padding="VALID") > 0.5, tf.float32)


def _border(image: tf.Tensor) -> tf.Tensor:
    """1 at the border of the images [B, H, W, 1], 0 inside: float32 [1, H, W, 1]."""
    height, width = image.shape[1:3]
    return 1.0 - tf.pad(tf.ones([1, height - 2, width - 2, 1]), [[0, 0], [1, 1], [1, 1], [0, 0]])
