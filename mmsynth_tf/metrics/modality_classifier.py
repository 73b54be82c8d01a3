"""A small modality classifier, which tests whether generated slices look like their modality (method §8)."""

import numpy as np
import tensorflow as tf

from mmsynth_tf import (
    compat,  # noqa: F401 (it sets what layers are built with)
    configs,
)
from mmsynth_tf.algorithms import warping
from mmsynth_tf.stages.synthesis import contrast

keras = tf.keras

_FILTERS = (16, 32, 64, 64)
_BATCH = 32
_SHUFFLE = 1_024
_LEARNING_RATE = 1e-3
# Strength of the contrast augmentation. Without it the network overfits to the contrasts of a few patients and
# misclassifies most FLAIR slices of other patients. Slices are also moved for the same reason.
_CONTRAST_STRENGTH = 0.7


def build(image_size: tuple[int, int], num_modalities: int) -> keras.Model:
    """Slice [B, H, W, 1] to scores of the modalities, float32 [B, n]."""
    inputs = keras.Input((*image_size, 1))
    x = inputs
    for filters in _FILTERS:
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    pooled = [keras.layers.GlobalAveragePooling2D()(x), keras.layers.GlobalMaxPooling2D()(x)]
    outputs = keras.layers.Dense(num_modalities)(keras.layers.Concatenate()(pooled))
    return keras.Model(inputs, outputs, name="modality_classifier")


def train(
    slices: tf.data.Dataset, image_size: tuple[int, int], num_modalities: int, steps: int, seed: int
) -> keras.Model:
    """Trains a classifier on real slices, in every available modality.

    Args:
      slices: examples as `PreparedData.slices` yields them.
      image_size: height and width, pixels.
      num_modalities: n.
      steps: training steps, of 32 slices of one modality each.
      seed: of the initial weights and the order.
    """
    keras.utils.set_random_seed(seed)
    model = build(image_size, num_modalities)
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    single = slices.flat_map(lambda x: tf.data.Dataset.from_tensor_slices(_single_slices(x)))
    batches = single.shuffle(_SHUFFLE, seed=seed).repeat().batch(_BATCH, drop_remainder=True).enumerate()
    batches = batches.map(lambda step, batch: (_vary(batch[0], tf.stack([tf.cast(seed, tf.int64), step])), batch[1]))
    batches = batches.prefetch(2)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model


def classify(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Predicts the modality of each slice.

    Args:
      model: trained classifier.
      images: float32 [B, n, H, W, 1] in [0, 1].

    Returns:
      int64 [B, n], indices of modalities.
    """
    scores = model.predict_on_batch(images.reshape(-1, *images.shape[2:]))
    return np.argmax(scores, axis=-1).reshape(images.shape[:2])


def _vary(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Slices [B, H, W, 1] with random contrast, and the scaling, rotation, shift and mirroring of the augmentation."""
    count, *size = images.shape[:3]
    gamma, darkening = (tf.random.stateless_uniform([count, 1, 1, 1], seed + i) for i in range(2))
    images = contrast.vary(images, gamma, darkening, _CONTRAST_STRENGTH)
    transforms = warping.random_transforms(count, tuple(size), configs.AugmentationConfig(), seed + 2)
    return warping.transform(images, transforms, "BILINEAR")


def _single_slices(example: dict) -> tuple[tf.Tensor, tf.Tensor]:
    """The available slices of an example, and their modalities."""
    present = tf.where(example["available"])[:, 0]
    return tf.cast(tf.gather(example["image"], present), tf.float32), present
