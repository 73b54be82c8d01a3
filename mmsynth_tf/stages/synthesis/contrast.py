"""The contrast of a slice as a short vector, a condition of synthesis; beyond the paper.

Scanners and patients differ in contrast, and a structure map does not determine it. Without this condition synthesis
gives each map its most likely contrast; with it the contrast can vary.
"""

from collections.abc import Sequence

import tensorflow as tf

from mmsynth_tf.models import losses, passes

_DECAY = 0.99
_SMALLEST_DEVIATION = 0.02
_DARKEST_RAISED = 0.01
# Mean and deviation come first.
_HEAD_NUMBERS = 2


def size(num_classes: int) -> int:
    """S: length of a slice's contrast vector; 0 if `num_classes` is 0."""
    return num_classes + 1 if num_classes else 0


def means(num_classes: int) -> tf.Tensor:
    """1 for entries that are means, 0 for the standard deviation: float32 [S]."""
    return tf.constant(([1.0, 0.0] + [1.0] * num_classes)[: size(num_classes)], tf.float32)


def draw(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws normalised contrasts (see `ContrastScale.normalise`): float32, standard normal truncated at ±2.

    Args:
      shape: of the result.
      seed: int [2], stateless seed.
    """
    return tf.random.stateless_truncated_normal(shape, seed)


def vary(images: tf.Tensor, gamma: tf.Tensor, darkening: tf.Tensor, strength: float) -> tf.Tensor:
    """Varies the contrast of slices, as between scanners.

    Args:
      images: float32 [..., H, W, 1] in [0, 1]; 0 stays 0.
      gamma: [..., 1, 1, 1] in [0, 1); sets the exponent of the intensities, between exp(-strength) and exp(strength).
      darkening: [..., 1, 1, 1] in [0, 1); intensities are then multiplied by 1 - darkening * strength / 2.
      strength: 0 changes nothing.
    """
    if not strength:
        return images
    # The gradient of a power below 1 is unbounded near 0.
    powers = tf.maximum(images, _DARKEST_RAISED) ** tf.exp(strength * (2.0 * gamma - 1.0))
    return tf.where(images < _DARKEST_RAISED, images, powers) * (1.0 - 0.5 * strength * darkening)


def describe(
    image: tf.Tensor, label: tf.Tensor, background: tf.Tensor, num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Measures contrasts.

    Args:
      image: float32 [N, H, W, 1].
      label: integer [N, H, W, 1], classes 0..num_classes-1.
      background: float32 [N, H, W, 1], 1 outside the head.
      num_classes: K; 0 gives values and presence of size [N, 0].

    Returns:
      values: float32 [N, K + 1]: mean and standard deviation of the head without its lesion, then the mean of each
        lesion class minus the first mean.
      present: float32 [N, K + 1], 1 where the slice shows the class that is measured; elsewhere the value is 0.
    """
    one_hot = tf.cast(tf.equal(tf.cast(label, tf.int32), tf.range(num_classes)), tf.float32)
    inside = one_hot * (1.0 - background)  # [N, H, W, K]
    area = tf.reduce_sum(inside, axis=(1, 2))
    present = tf.cast(area > 0, tf.float32)
    means = tf.math.divide_no_nan(tf.reduce_sum(inside * image, axis=(1, 2)), area)
    healthy = means[:, :1]
    squares = tf.square(image - healthy[:, None, None]) * inside[..., :1]
    variance = tf.math.divide_no_nan(tf.reduce_sum(squares, axis=(1, 2)), area[:, :1])
    # The derivative of the square root is infinite at 0.
    deviation = tf.sqrt(variance + 1e-6)
    values = tf.concat([healthy, deviation, means[:, 1:] - healthy], axis=1)
    present = tf.concat([present[:, :1], present], axis=1)
    return values * present, present


def describe_registered(
    images: tf.Tensor, label: tf.Tensor, background: tf.Tensor, num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """`describe` for registered slices, which share label and background.

    Args:
      images: float32 [B, n, H, W, 1].
      label: integer [B, H, W, 1].
      background: float32 [B, H, W, 1].
      num_classes: K.

    Returns:
      values and presence, float32 [B, n, K + 1].
    """
    modalities = images.shape[1]
    label, background = (tf.repeat(t, modalities, axis=0) for t in (label, background))
    found = describe(passes.merge(images), label, background, num_classes)
    return tuple(passes.separate(t, modalities) for t in found)


def with_head_of(contrasts: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Contrasts [..., S] with the head's mean and deviation from `others`; the lesion entries are kept."""
    return tf.concat([others[..., :_HEAD_NUMBERS], contrasts[..., _HEAD_NUMBERS:]], axis=-1)


class ContrastScale(tf.Module):
    """Mean and variance of the contrasts of real slices by modality, as moving averages.

    Args:
      num_modalities: n.
      num_classes: K; 0 disables the condition, and every contrast has size 0.

    Attributes:
      size: S.
      averages: the variables that hold the averages.
    """

    def __init__(self, num_modalities: int, num_classes: int):
        super().__init__(name="contrast_scale")
        self.size, self._num_classes = size(num_classes), num_classes
        shape = [num_modalities, self.size]
        replicated = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
        self.mean = tf.Variable(tf.zeros(shape), name="contrast_mean", **replicated)
        self.square = tf.Variable(tf.zeros(shape), name="contrast_square", **replicated)
        self.presence = tf.Variable(tf.zeros(shape), name="contrast_presence", **replicated)
        self.averages = (self.mean, self.square, self.presence)

    def describe(self, images: tf.Tensor, label: tf.Tensor, background: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`contrast.describe` of slices [N, H, W, 1]: values and presence, [N, S]."""
        return describe(images, label, background, self._num_classes)

    def describe_registered(
        self, images: tf.Tensor, label: tf.Tensor, background: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`contrast.describe_registered` of slices [B, n, H, W, 1]: values and presence, [B, n, S]."""
        return describe_registered(images, label, background, self._num_classes)

    def differences(self, images: tf.Tensor, label: tf.Tensor, background: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
        """Differences between the contrasts of registered slices and the requested ones.

        Args:
          images: float32 [B, n, H, W, 1].
          label: integer [B, H, W, 1].
          background: float32 [B, H, W, 1].
          asked: float32 [B, n, S], requested contrasts, normalised.

        Returns:
          float32 [B, n, S]; 0 for classes that are not present and for standard deviations. A loss on a deviation
          would make the generator draw texture that is not in the map.
        """
        values, present = self.describe_registered(images, label, background)
        return present * means(self._num_classes) * (values - self.values(asked))

    def observe(self, values: tf.Tensor, present: tf.Tensor) -> None:
        """Moves the averages towards those of contrasts [B, n, S] and their presence."""
        if not self.size:
            return  # Some reductions over replicas fail for a tensor without elements.
        sums = tf.reduce_mean(tf.stack([values, tf.square(values), present]), axis=1)
        sums = losses.across_replicas(tf.distribute.ReduceOp.MEAN, sums)
        for average, value in zip(self.averages, tf.unstack(sums), strict=True):
            average.assign(average + (1.0 - _DECAY) * (value - average))

    def normalise(self, values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """Contrasts [B, n, S] in standard deviations from the mean of their modality, within [-3, 3].

        Entries of classes that are not present are 0, the mean.
        """
        mean, deviation = self._moments()
        return tf.clip_by_value((values - mean) / deviation, -3.0, 3.0) * present

    def values(self, normalised: tf.Tensor) -> tf.Tensor:
        """Inverse of `normalise`: [B, n, S]."""
        mean, deviation = self._moments()
        return mean + deviation * normalised

    def _moments(self) -> tuple[tf.Tensor, tf.Tensor]:
        mean = tf.math.divide_no_nan(self.mean, self.presence)
        variance = tf.math.divide_no_nan(self.square, self.presence) - tf.square(mean)
        return mean, tf.maximum(tf.sqrt(tf.maximum(variance, 0.0)), _SMALLEST_DEVIATION)
