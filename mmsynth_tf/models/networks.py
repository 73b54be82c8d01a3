"""Networks: functional builders with explicit arguments (method §3, §6, §8).

Every network maps float32 (or the policy's dtype) tensors with a free batch
dimension. Output probabilities and images are float32.
"""

import tensorflow as tf

from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.models.layers import (
    AppendCondition,
    ConditionalInstanceNormalization,
    DepthToSpace,
    InstanceNormalization,
    LeakyReLU,
    OuterCondition,
    SpaceToDepth,
    UpsampleConv2D,
    float32_output,
)

keras = tf.keras
Initializer = keras.initializers.Initializer

# Channels of the coarsest features of a structure map, beside the latent code.
_CODE_CHANNELS = 32


class MeanFilter(Initializer):
    """Weights around 1 / (fan-in), so that every filter starts as a mean filter (paper §3.1).

    All filters of a layer start almost equal; only a small noise breaks the symmetry.
    """

    def __init__(self, stddev: float = 1e-6):
        self.stddev = stddev

    def __call__(self, shape, dtype=None, **kwargs):
        fan_in = 1
        for extent in shape[:-1]:
            fan_in *= int(extent)
        return tf.random.normal(shape, 1.0 / fan_in, self.stddev, dtype=dtype or tf.float32)

    def get_config(self):
        return {"stddev": self.stddev}


def generator_initializer(mean_filter: bool) -> Initializer | None:
    # None, not a shared HeNormal: one instance would give all layers of the same shape the same weights.
    return MeanFilter() if mean_filter else None


def structure_encoder(
    image_size: tuple[int, int],
    *,
    latent_dim: int,
    base_filters: int,
    max_filters: int,
    channels: int = 1,
    dropout: float = 0.0,
    initializer: Initializer | None = None,
) -> keras.Model:
    """EC_f: structure map, with its conditions, [B, H, W, channels] to z_mean and z_log_var, each [B, latent_dim]."""
    inputs = keras.Input((*image_size, channels))
    x = keras.layers.Dropout(dropout)(inputs) if dropout else inputs
    for filters in _pyramid(image_size, base_filters, max_filters):
        x = _plain_block(x, filters, strides=2, initializer=initializer)
    # Few channels; otherwise the following dense layers would hold most of the weights.
    x = keras.layers.Flatten()(keras.layers.Conv2D(_CODE_CHANNELS, 1, activation="relu")(x))
    z_mean = keras.layers.Dense(latent_dim, dtype="float32", name="z_mean")(x)
    z_log_var = keras.layers.Dense(
        latent_dim, dtype="float32", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3), name="z_log_var"
    )(x)
    return keras.Model(inputs, [z_mean, z_log_var], name="structure_encoder")


def structure_decoder(
    image_size: tuple[int, int],
    *,
    latent_dim: int,
    detail: bool = False,
    base_filters: int,
    max_filters: int,
    initializer: Initializer | None = None,
) -> keras.Model:
    """DC_f: code [B, latent_dim] to a picture, or to the probability of an edge: [B, H, W, 1] in [0, 1].

    With `detail` the second input is noise [B, h, w, 1] at twice the coarsest resolution. The last layer has single
    precision, because edges are found in the picture.
    """
    pyramid = _pyramid(image_size, base_filters, max_filters)
    height, width = image_size[0] >> len(pyramid), image_size[1] >> len(pyramid)
    code = keras.Input((latent_dim,))
    noise = [keras.Input(detail_shape(image_size))] if detail else []
    x = keras.layers.Dense(height * width * _CODE_CHANNELS)(code)
    x = keras.layers.Reshape((height, width, _CODE_CHANNELS))(x)
    x = _plain_block(x, pyramid[-1], initializer=initializer)
    for level, filters in enumerate([*pyramid[-2::-1], base_filters]):
        x = _plain_block([x, *(() if level else noise)], filters, initializer=initializer)
        x = _plain_block(x, filters, initializer=initializer)
    return keras.Model([code, *noise], _probability(x, 1, dtype="float32"), name="structure_decoder")


def detail_shape(image_size: tuple[int, int]) -> tuple[int, int, int]:
    """Shape of the noise for detail in `structure_decoder`: [h, w, 1], twice the coarsest resolution."""
    coarser = slice_sizes.halvings(image_size) - 1
    return image_size[0] >> coarser, image_size[1] >> coarser, 1


def mask_generator(
    image_size: tuple[int, int], *, base_filters: int, initializer: Initializer | None = None
) -> keras.Model:
    """MASK: structure map [B, H, W, 1] to the probability of background [B, H, W, 1].

    A U-Net over blocks of 2 x 2 pixels.
    """
    # Whether a pixel is inside can depend on distant edges, so the coarsest level covers most of the image.
    levels = slice_sizes.unet_levels((image_size[0] // 2, image_size[1] // 2))
    shape = {"base_filters": base_filters, "levels": levels, "block": 2, "initializer": initializer}
    encoder = unet_encoder(image_size, 1, **shape)
    decoder = unet_decoder(image_size, 1, activation="sigmoid", **shape)
    return keras.Model(encoder.inputs, decoder(encoder.outputs), name="mask_generator")


def image_encoder(
    image_size: tuple[int, int],
    channels: int,
    *,
    base_filters: int,
    residual_blocks: int,
    halvings: int = 2,
    skips: bool = False,
    dropout: float = 0.0,
    initializer: Initializer | None = None,
    name: str = "image_encoder",
) -> keras.Model:
    """EC_R and EC_M: fused map or slice [B, H, W, channels] to a code [B, h, w, 4 base_filters].

    The code is the slice halved `halvings` times, at least twice. With `skips` the output also has the features of the
    finer levels, from coarse to fine. After two halvings: [code, [B, H/2, W/2, 2 base_filters], [B, H, W,
    base_filters]].
    """
    _require_multiple(image_size, 1 << halvings, name)
    inputs = keras.Input((*image_size, channels))
    x = keras.layers.Dropout(dropout)(inputs) if dropout else inputs
    finest, *coarser = _generator_filters(base_filters, halvings)
    levels = [_block(x, finest, initializer=initializer)]
    for filters in coarser:
        levels.append(_block(levels[-1], filters, strides=2, initializer=initializer))
    x = levels.pop()
    for _ in range(residual_blocks):
        x = _residual(x, initializer)
    return keras.Model(inputs, [x, *reversed(levels)] if skips else x, name=name)


def image_decoder(
    code_shape: tuple[int, int, int],
    num_modalities: int,
    *,
    base_filters: int,
    residual_blocks: int,
    halvings: int = 2,
    skips: bool = False,
    contrast_size: int = 0,
    conditional_normalization: bool,
    initializer: Initializer | None = None,
) -> keras.Model:
    """DC_M: [code [B, h, w, C], one-hot modality [B, n], contrast [B, S]] to a slice [B, H, W, 1] in [0, 1].

    With `conditional_normalization` the modality also sets the scale and shift of every normalisation.
    With `skips` the finer features of `image_encoder` follow the code as inputs.
    `contrast_size` is S; 0 means that contrast is not a condition.
    """
    height, width, _ = code_shape
    finer_filters = _generator_filters(base_filters, halvings)[-2::-1]
    levels = [(height << step, width << step, filters) for step, filters in enumerate(finer_filters, start=1)]
    code, modality = keras.Input(code_shape), keras.Input((num_modalities,))
    finer = [keras.Input(shape) for shape in levels] if skips else []
    contrast = keras.Input((contrast_size,))
    inputs = [code, *finer, modality, contrast]
    # The meaning of a contrast entry depends on the modality.
    modality = OuterCondition()([modality, contrast])
    condition = modality if conditional_normalization else None
    # Not normalised: instance normalisation would erase a condition that is equal at all pixels.
    x = keras.layers.Conv2D(4 * base_filters, 3, padding="same", kernel_initializer=initializer or "he_normal")(
        AppendCondition()([code, modality])
    )
    x = keras.layers.ReLU()(x)
    for _ in range(residual_blocks):
        x = _residual(x, initializer, condition)
    for index, (*_, filters) in enumerate(levels):
        x = _block([x, *finer[index : index + 1]], filters, initializer=initializer, condition=condition)
        x = _block(x, filters, initializer=initializer, condition=condition)
    return keras.Model(inputs, _probability(x, 1), name="image_decoder")


def unet_encoder(
    image_size: tuple[int, int],
    channels: int,
    *,
    base_filters: int,
    levels: int,
    block: int = 1,
    dropout: float = 0.0,
    initializer: Initializer | None = None,
) -> keras.Model:
    """First half of a U-Net: slice [B, H, W, channels] to one feature map for each level, finest first.

    A U-Net over blocks of `block` x `block` pixels costs block² times less and still classifies each pixel.
    """
    _require_multiple(image_size, block << (levels - 1), "unet")
    inputs = keras.Input((*image_size, channels))
    x = keras.layers.Dropout(dropout)(inputs) if dropout else inputs
    x = SpaceToDepth(block)(x) if block > 1 else x
    features = []
    for level in range(levels):
        x = _block(x, base_filters << level, strides=2 if level else 1, initializer=initializer)
        x = _block(x, base_filters << level, initializer=initializer)
        features.append(x)
    return keras.Model(inputs, features, name="unet_encoder")


def unet_decoder(
    image_size: tuple[int, int],
    num_classes: int,
    *,
    base_filters: int,
    levels: int,
    block: int = 1,
    activation: str = "softmax",
    initializer: Initializer | None = None,
) -> keras.Model:
    """Second half of a U-Net: feature maps, finest first, to probabilities [B, H, W, num_classes]."""
    height, width = image_size[0] // block, image_size[1] // block
    inputs = [keras.Input((height >> level, width >> level, base_filters << level)) for level in range(levels)]
    x = inputs[-1]
    for level in reversed(range(levels - 1)):
        filters = base_filters << level
        # Reduce the channels before upsampling makes four times as many pixels.
        x = keras.layers.Conv2D(filters, 1, kernel_initializer=initializer or "he_normal")(x)
        x = _block([inputs[level], x], filters, initializer=initializer)
        x = _block(x, filters, initializer=initializer)
    return keras.Model(inputs, _probability(x, num_classes, activation, block), name="unet_decoder")


def _probability(
    x: tf.Tensor, channels: int, activation: str = "sigmoid", block: int = 1, dtype: str | None = None
) -> tf.Tensor:
    # Not normalised: normalisation would fix the brightness of every image and the area of every label.
    x = float32_output(keras.layers.Conv2D(channels * block**2, 3, padding="same", dtype=dtype)(x))
    x = DepthToSpace(block, dtype="float32")(x) if block > 1 else x
    return keras.layers.Activation(activation, dtype="float32")(x)


def _block(
    x: tf.Tensor | list[tf.Tensor],
    filters: int,
    strides: int = 1,
    initializer: Initializer | None = None,
    condition: tf.Tensor | None = None,
) -> tf.Tensor:
    return keras.layers.ReLU()(_normalized_conv(x, filters, strides, initializer, condition))


def _normalized_conv(
    x: tf.Tensor | list[tf.Tensor],
    filters: int,
    strides: int,
    initializer: Initializer | None,
    condition: tf.Tensor | None,
) -> tf.Tensor:
    # The normalisation has a shift, so the convolution needs no bias.
    x = _conv(x, filters, strides, initializer, use_bias=False)
    return InstanceNormalization()(x) if condition is None else ConditionalInstanceNormalization()([x, condition])


def _plain_block(
    x: tf.Tensor | list[tf.Tensor], filters: int, strides: int = 1, initializer: Initializer | None = None
) -> tf.Tensor:
    # Instance normalisation would erase global properties that the code encodes, such as size and brightness.
    return LeakyReLU()(_conv(x, filters, strides, initializer))


def _conv(
    x: tf.Tensor | list[tf.Tensor], filters: int, strides: int, initializer: Initializer | None, use_bias: bool = True
) -> tf.Tensor:
    """3 x 3 convolution; for a list, coarse features are first doubled in height and width."""
    settings = {"use_bias": use_bias, "kernel_initializer": initializer or "he_normal"}
    if isinstance(x, list):
        return UpsampleConv2D(filters, **settings)(x)
    return keras.layers.Conv2D(filters, 3, strides, padding="same", **settings)(x)


def _residual(x: tf.Tensor, initializer: Initializer | None, condition: tf.Tensor | None = None) -> tf.Tensor:
    y = _block(x, x.shape[-1], initializer=initializer, condition=condition)
    return keras.layers.Add()([x, _normalized_conv(y, x.shape[-1], 1, initializer, condition)])


def _generator_filters(base_filters: int, halvings: int) -> list[int]:
    """Filters of each level, finest first; the code has four times as many as the first level at every depth."""
    return [min(base_filters << level, 4 * base_filters) for level in range(halvings + 1)]


def _pyramid(image_size: tuple[int, int], base_filters: int, max_filters: int) -> list[int]:
    """Filters for each halving."""
    halvings = slice_sizes.halvings(image_size)
    if not halvings:
        raise UserError(f"Image size {image_size} cannot be halved; choose even sides of more than 12 pixels.")
    return [min(base_filters << (level + 1), max_filters) for level in range(halvings)]


def _require_multiple(image_size: tuple[int, int], divisor: int, name: str) -> None:
    if any(extent % divisor for extent in image_size):
        raise UserError(f"{name}: height and width {image_size} must be divisible by {divisor}.")
