"""Keras layers that the networks share."""

import tensorflow as tf


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
        # Half precision is too coarse for the variance of large images.
        x = tf.cast(inputs, tf.float32)
        mean, variance = tf.nn.moments(x, axes=(1, 2), keepdims=True)
        gamma, beta = tf.cast(self.gamma, tf.float32), tf.cast(self.beta, tf.float32)
        x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(x, inputs.dtype)

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
        # Every condition starts alike, at scale 1 and shift 0.
        self.scale = self.add_weight(name="scale", shape=(size, channels), initializer="zeros")
        self.shift = self.add_weight(name="shift", shape=(size, channels), initializer="zeros")

    def call(self, inputs):
        features, condition = inputs
        condition = tf.cast(condition, self.compute_dtype)
        scale, shift = (
            tf.cast(tf.matmul(condition, tf.cast(w, condition.dtype)), features.dtype)[:, None, None, :]
            for w in (self.scale, self.shift)
        )
        return self.normalization(features) * (1.0 + scale) + shift

    def compute_output_shape(self, input_shape):
        return input_shape[0]


class LeakyReLU(tf.keras.layers.Layer):
    """max(x, 0.2 x). TensorFlow 2.21 fails to fuse its own with a convolution and then fuses nothing in the graph."""

    def call(self, inputs):
        return tf.maximum(inputs, 0.2 * inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


class Upsample(tf.keras.layers.Layer):
    """Doubles height and width by repeating pixels.

    UpSampling2D's nearest-neighbour resize has no XLA gradient on CPU; broadcasting has.
    """

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        x = tf.reshape(inputs, [-1, height, 1, width, 1, channels])
        x = tf.broadcast_to(x, [tf.shape(x)[0], height, 2, width, 2, channels])
        return tf.reshape(x, [-1, 2 * height, 2 * width, channels])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, 2 * height, 2 * width, channels


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
    """A one-hot choice [B, N] and its attributes [B, S], given a place of their own for each choice: [B, N (1 + S)]."""

    def call(self, inputs):
        choice, attributes = inputs
        ones = tf.ones_like(attributes[:, :1])
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
