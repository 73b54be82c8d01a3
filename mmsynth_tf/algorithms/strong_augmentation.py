"""Strong augmentation: nnU-Net's transforms, ranges and probabilities in 2D (beyond the paper).

nnU-Net rotates by up to 180 degrees. Here the limit is 30, because all heads
have the same orientation. nnU-Net's intensities have mean 0 and variance 1. Here
they are positive in the head and 0 outside, so noise is in standard deviations
of the head, and the background stays 0.
"""

import dataclasses
import math

import tensorflow as tf

from mmsynth_tf.algorithms import warping


@dataclasses.dataclass(frozen=True)
class StrongAugmentation:
    """Ranges of the transforms, and the probability of each; the defaults are nnU-Net's except for `rotation`.

    Attributes:
      rotation: largest angle, degrees.
      rotation_share: probability.
      scale: smallest and largest size relative to the slice.
      scale_share: probability.
      mirror_share: probability for each of the two axes.
      noise: largest standard deviation, in standard deviations of the modality within the head.
      noise_share: probability.
      blur: smallest and largest standard deviation of a Gaussian, pixels.
      blur_share: probability; then each modality is blurred with probability 0.5.
      brightness: smallest and largest factor, drawn for each modality.
      brightness_share: probability.
      contrast: smallest and largest factor of the deviation from the mean, drawn for each modality.
      contrast_share: probability.
      resolution: smallest and largest number of pixels on an axis, relative to the slice.
      resolution_share: probability; then each modality is downsampled with probability 0.5.
      gamma: smallest and largest exponent, drawn for each modality; mean and variance are kept.
      gamma_share: probability.
      inverted_gamma_share: probability of gamma on the inverted slice.
    """

    rotation: float = 30.0
    rotation_share: float = 0.2
    scale: tuple[float, float] = (0.7, 1.4)
    scale_share: float = 0.2
    mirror_share: float = 0.5
    noise: float = 0.1
    noise_share: float = 0.1
    blur: tuple[float, float] = (0.5, 1.0)
    blur_share: float = 0.2
    brightness: tuple[float, float] = (0.75, 1.25)
    brightness_share: float = 0.15
    contrast: tuple[float, float] = (0.75, 1.25)
    contrast_share: float = 0.15
    resolution: tuple[float, float] = (0.5, 1.0)
    resolution_share: float = 0.25
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_share: float = 0.3
    inverted_gamma_share: float = 0.1


def augment(
    images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, ranges: StrongAugmentation | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies random transforms to each slice and its label.

    Args:
      images: float32 [B, H, W, n], registered modalities, positive in the head and 0 outside; a missing modality is
        and remains 0.
      labels: integer [B, H, W, 1].
      seed: int [2], stateless seed.
      ranges: ranges and probabilities; by default nnU-Net's.

    Returns:
      images: float32 [B, H, W, n], positive in the head and 0 outside; values may exceed 1.
      labels: integer [B, H, W, 1], with the spatial transforms of the images.
    """
    ranges = ranges or StrongAugmentation()
    draw = _Draws(tf.shape(images)[0], images.shape[-1], seed)
    transforms = _transforms(draw, images.shape[1:3], ranges)
    images = warping.transform(images, transforms, "BILINEAR")
    labels = warping.transform(labels, transforms, "NEAREST")
    head = tf.cast(images > 0, tf.float32)
    images = _noisy(images, head, draw, ranges)
    images = _blurred(images, draw, ranges) * head
    images = images * draw.factor(ranges.brightness, ranges.brightness_share)
    images = _contrasted(images, head, draw, ranges)
    images = _coarser(images, draw, ranges) * head
    for inverted, share in ((True, ranges.inverted_gamma_share), (False, ranges.gamma_share)):
        images = _powered(images, head, draw.factor(ranges.gamma, share), inverted)
    # Values in the head stay positive, because 0 marks the background.
    return tf.maximum(images, 1e-3) * head, labels


class _Draws:
    """Random numbers of a batch, each call an independent stream."""

    def __init__(self, count: tf.Tensor, modalities: int, seed: tf.Tensor):
        self._count, self._modalities, self._seed, self._stream = count, modalities, seed, 0

    def uniform(self, low: float, high: float, each_modality: bool = False) -> tf.Tensor:
        """float32 [B, 1, 1, 1], or [B, 1, 1, n]."""
        shape = [self._count, 1, 1, self._modalities if each_modality else 1]
        return tf.random.stateless_uniform(shape, self._next(), low, high)

    def normal(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal(shape, self._next())

    def happens(self, share: float, each_modality: bool = False) -> tf.Tensor:
        """bool [B, 1, 1, 1], or [B, 1, 1, n]."""
        return self.uniform(0.0, 1.0, each_modality) < share

    def factor(self, bounds: tuple[float, float], share: float) -> tf.Tensor:
        """float32 [B, 1, 1, n]: 1 for unchanged slices; else between 1 and either bound, with equal probability."""
        low, high = bounds
        drawn = tf.where(
            self.happens(0.5, each_modality=True),
            self.uniform(min(low, 1.0), 1.0, each_modality=True),
            self.uniform(1.0, max(high, 1.0), each_modality=True),
        )
        return tf.where(self.happens(share), drawn, 1.0)

    def _next(self) -> tf.Tensor:
        self._stream += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._stream)


def _transforms(draw: _Draws, size: tuple[int, int], ranges: StrongAugmentation) -> tf.Tensor:
    """float32 [B, 8], as `warping.transform` takes them: turned, scaled and mirrored about the centre."""
    largest = math.radians(ranges.rotation)
    angle = tf.where(draw.happens(ranges.rotation_share), draw.uniform(-largest, largest), 0.0)
    low, high = ranges.scale
    smaller = draw.happens(0.5)
    scale = tf.where(smaller, draw.uniform(min(low, 1.0), 1.0), draw.uniform(1.0, max(high, 1.0)))
    scale = tf.where(draw.happens(ranges.scale_share), scale, 1.0)
    flip_x, flip_y = (tf.where(draw.happens(ranges.mirror_share), -1.0, 1.0) for _ in range(2))
    angle, scale, flip_x, flip_y = (tf.reshape(value, [-1]) for value in (angle, scale, flip_x, flip_y))
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    a, b, c, d = cosine * flip_x, -sine * flip_x, sine * flip_y, cosine * flip_y
    centre_x, centre_y = (size[1] - 1) / 2.0, (size[0] - 1) / 2.0
    offset_x = centre_x - a * centre_x - b * centre_y
    offset_y = centre_y - c * centre_x - d * centre_y
    return tf.stack([a, b, offset_x, c, d, offset_y, tf.zeros_like(a), tf.zeros_like(a)], axis=1)


def _noisy(images: tf.Tensor, head: tf.Tensor, draw: _Draws, ranges: StrongAugmentation) -> tf.Tensor:
    strength = tf.where(draw.happens(ranges.noise_share), draw.uniform(0.0, ranges.noise), 0.0)
    _, deviation = _moments(images, head)
    return images + strength * deviation * head * draw.normal(tf.shape(images))


def _blurred(images: tf.Tensor, draw: _Draws, ranges: StrongAugmentation) -> tf.Tensor:
    chosen = draw.happens(ranges.blur_share) & draw.happens(0.5, each_modality=True)
    sigma = draw.uniform(*ranges.blur, each_modality=True)
    # The softmax normalises the weights of each pixel, so there is no reflection or darkening at the border.
    kernels = [
        tf.nn.softmax(-0.5 * tf.square(_distances(extent) / _of_images(sigma)), axis=-1) for extent in images.shape[1:3]
    ]
    return tf.where(chosen, _separable(images, *kernels), images)


def _contrasted(images: tf.Tensor, head: tf.Tensor, draw: _Draws, ranges: StrongAugmentation) -> tf.Tensor:
    factor = draw.factor(ranges.contrast, ranges.contrast_share)
    mean, _ = _moments(images, head)
    low, high = _range(images, head)
    changed = tf.clip_by_value((images - mean) * factor + mean, low, high) * head
    return tf.where(tf.equal(factor, 1.0), images, changed)


def _coarser(images: tf.Tensor, draw: _Draws, ranges: StrongAugmentation) -> tf.Tensor:
    """Downsamples to a coarser grid (nearest neighbour) and upsamples (linear), for random modalities."""
    chosen = draw.happens(ranges.resolution_share) & draw.happens(0.5, each_modality=True)
    share = _of_images(draw.uniform(*ranges.resolution, each_modality=True))[..., 0]
    kernels = [_resampling(extent, share) for extent in images.shape[1:3]]
    return tf.where(chosen, _separable(images, *kernels), images)


def _resampling(extent: int, share: tf.Tensor) -> tf.Tensor:
    """Weights of the input pixels for each output pixel, float32 [N, extent, extent]; `share` float32 [N, 1]."""
    position = (tf.range(float(extent)) + 0.5) * share - 0.5
    below = tf.floor(position)

    def pixel(sample: tf.Tensor) -> tf.Tensor:
        number = tf.clip_by_value(tf.round((sample + 0.5) / share - 0.5), 0.0, extent - 1.0)
        return tf.one_hot(tf.cast(number, tf.int32), extent)

    weight = (position - below)[..., None]
    return (1.0 - weight) * pixel(below) + weight * pixel(below + 1.0)


def _powered(images: tf.Tensor, head: tf.Tensor, power: tf.Tensor, inverted: bool) -> tf.Tensor:
    """Raises the head's values, scaled to [0, 1], to `power` [B, 1, 1, n]; keeps their mean and deviation."""
    low, high = _range(images, head)
    unit = tf.math.divide_no_nan(images - low, high - low)
    unit = tf.clip_by_value(1.0 - unit if inverted else unit, 0.0, 1.0)
    changed = tf.pow(unit, power)
    changed = 1.0 - changed if inverted else changed
    (mean, deviation), (new_mean, new_deviation) = _moments(images, head), _moments(changed, head)
    changed = (changed - new_mean) * tf.math.divide_no_nan(deviation, new_deviation) + mean
    return tf.where(tf.equal(power, 1.0), images, changed * head)


def _moments(images: tf.Tensor, head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and standard deviation of each modality in the head, float32 [B, 1, 1, n]."""
    count = tf.reduce_sum(head, axis=(1, 2), keepdims=True)
    mean = tf.math.divide_no_nan(tf.reduce_sum(images * head, axis=(1, 2), keepdims=True), count)
    squares = tf.reduce_sum(tf.square(images - mean) * head, axis=(1, 2), keepdims=True)
    return mean, tf.sqrt(tf.math.divide_no_nan(squares, count))


def _range(images: tf.Tensor, head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest value of each modality in the head, float32 [B, 1, 1, n]; 0 where there is none."""
    high = tf.reduce_max(images * head, axis=(1, 2), keepdims=True)
    low = tf.reduce_min(tf.where(head > 0, images, high), axis=(1, 2), keepdims=True)
    return low, high


def _distances(extent: int) -> tf.Tensor:
    """Signed distances between all positions on an axis, float32 [extent, extent]."""
    places = tf.range(float(extent))
    return places[:, None] - places[None, :]


def _of_images(values: tf.Tensor) -> tf.Tensor:
    """[B, 1, 1, n] to [B n, 1, 1], in the order of `_separable`'s kernels."""
    return tf.reshape(values, [-1, 1, 1])


def _separable(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Weighted sums over rows, then columns: kernels float32 [B n, H, H] and [B n, W, W]."""
    height, width, n = images.shape[1:]
    rows, columns = (tf.reshape(k, [-1, n, e, e]) for k, e in ((rows, height), (columns, width)))
    first = tf.transpose(images, [0, 3, 1, 2])
    return tf.transpose(tf.matmul(tf.matmul(rows, first), columns, transpose_b=True), [0, 2, 3, 1])
