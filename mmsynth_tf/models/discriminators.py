"""The discriminators: of maps and slices (D_f, D_M, D_J), of structure codes (FD_f) and of semantic codes (FD_R)."""

import tensorflow as tf

from mmsynth_tf import compat, constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.models.layers import InstanceNormalization, LeakyReLU, float32_output

keras = tf.keras

_BY_INSTANCE = (constants.INSTANCE, constants.INSTANCE_EVERYWHERE)


def patch_discriminator(
    image_size: tuple[int, int],
    *,
    base_filters: int,
    channels: int = 1,
    halvings: int = 3,
    class_outputs: int = 0,
    own_class_features: bool = False,
    normalization: str = constants.SPECTRAL,
    init_stddev: float = 0.02,
) -> keras.Model:
    """D: slice or map, with its conditions, [B, H, W, channels] to real/fake scores of patches [B, h, w, 1].

    The slice is halved `halvings` times. A score sees a square of `slice_sizes.receptive_field(halvings)` pixels.

    With `class_outputs` a second head gives class scores [B, h, w, class_outputs]. With `own_class_features` that head
    shares no layer with the first and always has instance normalisation.
    """
    inputs = keras.Input((*image_size, channels))
    features = _patch_features(inputs, base_filters, halvings, normalization, init_stddev)
    outputs = [_patch_scores(features, base_filters, 1, normalization, init_stddev)]
    if class_outputs:
        if own_class_features:
            normalization, init_stddev = constants.INSTANCE, 0.0
            features = _patch_features(inputs, base_filters, halvings, normalization, init_stddev)
        outputs.append(_patch_scores(features, base_filters, class_outputs, normalization, init_stddev))
    return keras.Model(inputs, outputs if class_outputs else outputs[0], name="patch_discriminator")


def code_discriminator(
    latent_dim: int, *, units: int = 256, normalization: str = constants.SPECTRAL, init_stddev: float = 0.02
) -> keras.Model:
    """FD_f: structure code [B, latent_dim] to a score [B, 1]."""
    inputs = keras.Input((latent_dim,))
    x = inputs
    for _ in range(2):
        x = _spectral(keras.layers.Dense(units), normalization)(x)
        # A code has no spatial axes, so it is normalised over its features.
        if normalization == constants.INSTANCE_EVERYWHERE:
            x = keras.layers.LayerNormalization()(x)
        x = LeakyReLU()(x)
    x = keras.layers.Dense(1, kernel_initializer=_discriminator_initializer(init_stddev))(x)
    return keras.Model(inputs, float32_output(x), name="code_discriminator")


def feature_discriminator(
    code_shape: tuple[int, int, int],
    *,
    base_filters: int,
    normalization: str = constants.SPECTRAL,
    init_stddev: float = 0.02,
) -> keras.Model:
    """FD_R: semantic code [B, h, w, C] to scores [B, h/4, w/4, 1]."""
    inputs = keras.Input(code_shape)
    x = inputs
    for _ in range(2):
        x = _discriminator_block(x, base_filters, 3, 2, _of_unnormalised(normalization), init_stddev)
    scores = _discriminator_conv(normalization, init_stddev)(1, 3, 1)(x)
    return keras.Model(inputs, float32_output(scores), name="feature_discriminator")


def _patch_features(
    x: tf.Tensor, base_filters: int, halvings: int, normalization: str, init_stddev: float
) -> tf.Tensor:
    # With `INSTANCE` the first features are not normalised, so that the network can use brightness.
    x = _discriminator_block(x, base_filters, 4, 2, _of_unnormalised(normalization), init_stddev)
    for filters in (min(base_filters << level, 4 * base_filters) for level in range(1, halvings)):
        x = _discriminator_block(x, filters, 4, 2, normalization, init_stddev)
    return x


def _patch_scores(x: tf.Tensor, base_filters: int, channels: int, normalization: str, init_stddev: float) -> tf.Tensor:
    x = _discriminator_block(x, 2 * base_filters, 3, 1, normalization, init_stddev)
    # The output layer has no spectral normalisation: the normalised layers before it shrink their features, so
    # bounded scores would hardly separate real from generated input.
    if normalization in (constants.NONE, constants.INSTANCE_EVERYWHERE):
        return float32_output(_discriminator_conv(normalization, init_stddev)(channels, 3, 1)(x))
    return float32_output(keras.layers.Conv2D(channels, 3, padding="same")(x))


def _discriminator_block(
    x: tf.Tensor, filters: int, size: int, strides: int, normalization: str, init_stddev: float
) -> tf.Tensor:
    x = _discriminator_conv(normalization, init_stddev)(filters, size, strides)(x)
    return LeakyReLU()(InstanceNormalization()(x) if normalization in _BY_INSTANCE else x)


def _of_unnormalised(normalization: str) -> str:
    """The normalisation of a layer that has none under `INSTANCE`."""
    return constants.NONE if normalization == constants.INSTANCE else normalization


def _discriminator_conv(normalization: str, init_stddev: float):
    """A constructor of the discriminators' convolutions: maps (filters, kernel size, strides) to a layer."""
    choices = constants.DISCRIMINATOR_NORMALIZATIONS
    if normalization not in choices:
        raise UserError(f"Discriminator normalisation {normalization!r}: choose {', '.join(choices)}.")

    def conv(filters: int, size: int, strides: int) -> keras.layers.Layer:
        initializer = _discriminator_initializer(init_stddev)
        layer = keras.layers.Conv2D(filters, size, strides, padding="same", kernel_initializer=initializer)
        return _spectral(layer, normalization)

    return conv


def _discriminator_initializer(stddev: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev) if stddev else keras.initializers.HeNormal()


def _spectral(layer: keras.layers.Layer, normalization: str) -> keras.layers.Layer:
    return compat.SpectralNormalization(layer) if normalization == constants.SPECTRAL else layer
