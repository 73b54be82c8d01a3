"""The networks of the synthesis stage (method §6)."""

import functools

import tensorflow as tf

from mmsynth_tf.configs import DataConfig, SynthesisConfig, slice_sizes
from mmsynth_tf.models import discriminators, networks


def generators(
    data: DataConfig, config: SynthesisConfig, contrast_size: int
) -> tuple[tf.keras.Model, tf.keras.Model, tf.keras.Model]:
    """EC_R, EC_M and DC_M."""
    choices = config.choices
    shape = {
        "base_filters": config.base_filters,
        "residual_blocks": choices.residual_blocks,
        "halvings": choices.code_halvings or slice_sizes.code_halvings(data.image_size),
        "skips": choices.skips,
        "initializer": networks.generator_initializer(choices.mean_filter_init),
    }
    size, channels = data.image_size, data.num_classes + (1 if choices.fusion_concatenate else 0)
    fusion_encoder = networks.image_encoder(size, channels, dropout=choices.dropout, name="fusion_encoder", **shape)
    image_encoder = networks.image_encoder(size, 1, dropout=choices.dropout, **shape)
    decoder = networks.image_decoder(
        code_shape(image_encoder),
        data.num_modalities,
        contrast_size=contrast_size,
        conditional_normalization=choices.conditional_normalization,
        **shape,
    )
    return fusion_encoder, image_encoder, decoder


def judges(data: DataConfig, config: SynthesisConfig, code: tuple[int, int, int]) -> tuple[tf.keras.Model, ...]:
    """D_M and FD_R, and D_J for registered slices; the input of FD_R is codes [B, *code], of D_J [B, H, W, n]."""
    choices = config.choices
    shape = {
        "base_filters": config.discriminator_filters,
        "normalization": choices.discriminator_normalization,
        "init_stddev": choices.discriminator_init_stddev,
    }
    of_patches = functools.partial(
        discriminators.patch_discriminator,
        data.image_size,
        halvings=choices.discriminator_halvings or slice_sizes.discriminator_halvings(data.image_size),
        **shape,
    )
    discriminator = of_patches(
        class_outputs=data.num_modalities if choices.softmax_class else 1,
        own_class_features=choices.own_class_features,
    )
    joint = [of_patches(channels=data.num_modalities)] if choices.registered else []
    return discriminator, discriminators.feature_discriminator(code, **shape), *joint


def code_shape(image_encoder: tf.keras.Model) -> tuple[int, int, int]:
    """Height, width and channels of the encoder's code."""
    return tuple(tf.nest.flatten(image_encoder.outputs)[0].shape[1:])
