"""Keras layers that the networks share."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import compat  # noqa: F401 (it sets what layers are built with)


class InstanceNormalization(tf.keras.layers.Layer):
    """Normalises each channel of each image to mean 0 and variance 1, then scales and shifts.

    Input and output: float [B, H, W, C].
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return self._applied(inputs, *self._scale_and_shift())

    def rescaled(self, inputs: tf.Tensor, factor: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        """Normalises, scales and shifts, then scales by `factor` and shifts by `offset`, [B, 1, 1, C]."""
        scale, shift = self._scale_and_shift()
        return self._applied(inputs, scale * factor, shift * factor + offset)

    def _scale_and_shift(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tuple(tf.reshape(tf.cast(w, tf.float32), [1, 1, 1, -1]) for w in (self.gamma, self.beta))

    def _applied(self, inputs: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        # Half precision is too coarse for the variance of large images.
        x = tf.cast(inputs, tf.float32)
        return tf.cast(_standardised(x, scale, shift, self.epsilon), inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class ConditionalInstanceNormalization(tf.keras.layers.Layer):
    """Instance normalisation whose scale and shift depend on a condition (Dumoulin et al., 2017).

    Input: features [B, H, W, C] and condition [B, N]. Output: [B, H, W, C].
    """

    def build(self, input_shape):
        (*_, channels), (_, size) = input_shape
        self.normalization = InstanceNormalization(dtype=self.dtype_policy)
        self.normalization.build(input_shape[0])
        # Zero weights: every condition starts with scale 1 and shift 0.
        self.scale = self.add_weight(name="scale", shape=(size, channels), initializer="zeros")
        self.shift = self.add_weight(name="shift", shape=(size, channels), initializer="zeros")

    def call(self, inputs):
        features, condition = inputs
        scale, shift = (
            tf.matmul(tf.cast(condition, tf.float32), tf.cast(w, tf.float32))[:, None, None, :]
            for w in (self.scale, self.shift)
        )
        return self.normalization.rescaled(features, 1.0 + scale, shift)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def _standardised(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises each channel of each image, then scales and shifts it.

    Args:
      x: float32 [B, H, W, C].
      scale: float32 [B or 1, 1, 1, C].
      shift: same dtype and shape.
      epsilon: added to the variance.

    Returns:
      float32 [B, H, W, C].
    """

    pixels = float(x.shape[1] * x.shape[2])
    is_shared = scale.shape[0] == 1

    def summed(gradient: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(gradient, axis=0, keepdims=True) if is_shared else gradient

    # The explicit gradient reads the features half as often as automatic differentiation.
    @tf.custom_gradient
    def compute(x, scale, shift):
        mean = _image_mean(x)
        inverse = tf.math.rsqrt(_image_mean(tf.math.squared_difference(x, mean)) + epsilon)
        factor = scale * inverse

        def gradient(upstream):
            along_shift = _image_mean(upstream)
            along_scale = inverse * (_image_mean(upstream * x) - mean * along_shift)
            slope = factor * inverse * along_scale
            along_x = upstream * factor - x * slope + (mean * slope - factor * along_shift)
            return along_x, summed(pixels * along_scale), summed(pixels * along_shift)

        return x * factor + (shift - mean * factor), gradient

    return compute(x, scale, shift)


def _image_mean(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(x, axis=(1, 2), keepdims=True)


class LeakyReLU(tf.keras.layers.Layer):
    """max(x, 0.2 x). TensorFlow 2.21 fails to fuse its own op with a convolution, which disables all fusion."""

    def call(self, inputs):
        return _leaky_relu(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@tf.custom_gradient
def _leaky_relu(x: tf.Tensor):
    # TensorFlow's gradient op is one pass over the features; the gradient of a maximum is four.
    return tf.maximum(x, 0.2 * x), lambda upstream: tf.raw_ops.LeakyReluGrad(gradients=upstream, features=x, alpha=0.2)


class UpsampleConv2D(tf.keras.layers.Layer):
    """Doubles coarse features in height and width by repeating pixels, then convolves with 3 x 3 filters.

    After pixels are repeated, a 3 x 3 filter covers only 2 x 2 different ones. The layer therefore applies a transposed
    convolution to the coarse features, with stride 2 and 4 x 4 filters that are sums of the 3 x 3 ones. The result is
    the same with 4/9 of the operations, and the doubled features are never stored.

    Input: a list of features to concatenate, fine [B, H, W, C_i] or coarse [B, H/2, W/2, C_i]; at least one is coarse.
    Output: [B, H, W, filters].
    """

    def __init__(self, filters: int, use_bias: bool = True, kernel_initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.use_bias = filters, use_bias
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        channels = sum(shape[-1] for shape in input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(3, 3, channels, self.filters), initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None

    def call(self, inputs):
        convolved = _upsampled_conv(inputs, tf.convert_to_tensor(self.kernel))
        return convolved if self.bias is None else tf.nn.bias_add(convolved, self.bias)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], *_doubled_size(input_shape), self.filters)

    def get_config(self):
        initializer = tf.keras.initializers.serialize(self.kernel_initializer)
        return {
            **super().get_config(),
            "filters": self.filters,
            "use_bias": self.use_bias,
            "kernel_initializer": initializer,
        }


# Rows 0 to 3 of a 4 x 4 filter as sums of rows 0 to 2 of a 3 x 3 filter, and columns alike.
_ROW_SUMS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
_SUMS = np.kron(_ROW_SUMS, _ROW_SUMS)


def _upsampled_conv(inputs: Sequence[tf.Tensor], kernel: tf.Tensor) -> tf.Tensor:
    """`UpsampleConv2D` of `inputs` with filters [3, 3, sum of C_i, D]."""
    height, width = _doubled_size([x.shape for x in inputs])
    shape = [tf.shape(inputs[0])[0], height, width, kernel.shape[-1]]
    kernels = tf.split(kernel, [x.shape[-1] for x in inputs], axis=2)
    parts = [
        tf.nn.conv2d(x, own, 1, "SAME")
        if x.shape[1] == height
        else tf.nn.conv2d_transpose(x, _upsampling_kernel(own), shape, 2, "SAME")
        for x, own in zip(inputs, kernels, strict=True)
    ]
    return sum(parts[1:], parts[0])


def _doubled_size(shapes: Sequence[Sequence[int | None]]) -> tuple[int, int]:
    """Twice the height and width of the coarsest features, given shapes [B, H, W, C]."""
    height, width = min(tuple(shape[1:3]) for shape in shapes)
    return 2 * height, 2 * width


def _upsampling_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Filters [3, 3, C, D] of doubled features to those of the transposed convolution of coarse ones, [4, 4, D, C]."""
    channels, filters = kernel.shape[2:]
    sums = tf.matmul(tf.constant(_SUMS, kernel.dtype), tf.reshape(kernel, [9, channels * filters]))
    return tf.transpose(tf.reshape(sums, [4, 4, channels, filters]), [0, 1, 3, 2])


class AppendCondition(tf.keras.layers.Layer):
    """Appends a condition vector to every pixel's channels.

    Input: features [B, H, W, C] and condition [B, N]. Output: [B, H, W, C + N].
    """

    def call(self, inputs):
        features, condition = inputs
        shape = tf.shape(features)
        condition = tf.cast(condition, features.dtype)[:, None, None, :]
        tiled = tf.broadcast_to(condition, [shape[0], shape[1], shape[2], condition.shape[-1]])
        return tf.concat([features, tiled], axis=-1)

    def compute_output_shape(self, input_shape):
        (batch, height, width, channels), (_, size) = input_shape
        return batch, height, width, channels + size


class OuterCondition(tf.keras.layers.Layer):
    """One-hot choice [B, N] and attributes [B, S] to [B, N (1 + S)], with separate entries for each choice."""

    def call(self, inputs):
        choice, attributes = inputs
        ones = tf.ones_like(choice[:, :1])
        product = choice[:, :, None] * tf.concat([ones, attributes], axis=1)[:, None]
        return tf.reshape(product, [-1, product.shape[1] * product.shape[2]])

    def compute_output_shape(self, input_shape):
        (batch, choices), (_, size) = input_shape
        return batch, choices * (1 + size)


class _Blocks(tf.keras.layers.Layer):
    """Rearranges blocks of `size` x `size` pixels."""

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class SpaceToDepth(_Blocks):
    """Blocks of s x s pixels to channels: [B, H, W, C] to [B, H/s, W/s, s²C]."""

    def call(self, inputs):
        return tf.nn.space_to_depth(inputs, self.size)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height // self.size, width // self.size, channels * self.size**2


class DepthToSpace(_Blocks):
    """Channels to blocks of s x s pixels: [B, H, W, s²C] to [B, sH, sW, C]."""

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, self.size)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height * self.size, width * self.size, channels // self.size**2


def float32_output(x: tf.Tensor) -> tf.Tensor:
    """Casts a network's output to single precision, whatever the precision of its layers."""
    return tf.keras.layers.Activation("linear", dtype="float32")(x)
