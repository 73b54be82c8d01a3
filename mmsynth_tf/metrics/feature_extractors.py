"""Feature vectors of slices, for distances between sets of slices (method §8)."""

import os
import pathlib
from typing import Protocol

import numpy as np
import tensorflow as tf

from mmsynth_tf.errors import UserError
from mmsynth_tf.stages.segmentation.segmenter import Segmenter

INCEPTION_WEIGHTS_VARIABLE = "MMSYNTH_INCEPTION_WEIGHTS"
# File name in the Keras cache.
_INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
_INCEPTION_SIZE = (299, 299)


class UnavailableError(UserError):
    """An optional dependency is not on this machine; the message names it and how to get it."""


class Extractor(Protocol):
    """Maps slices of every modality, float32 [B, n, H, W, 1] in [0, 1], to features float32 [B, n, D]."""

    def __call__(self, images: tf.Tensor) -> np.ndarray: ...


class SegmenterFeatures:
    """Features of all levels of each modality's segmenter, averaged over the slice.

    The features follow instance normalisation, so a channel's average reflects the spatial distribution of its response
    (uniform or concentrated), not its strength. All levels are used, because the coarsest level hardly distinguishes
    blurred slices from sharp ones.
    """

    def __init__(self, segmenter: Segmenter):
        self._encoders = segmenter.lesion_processor.encoders

    def __call__(self, images: tf.Tensor) -> np.ndarray:
        return self._extract(tf.convert_to_tensor(images)).numpy()

    @tf.function(autograph=False, reduce_retracing=True)
    def _extract(self, images: tf.Tensor) -> tf.Tensor:
        pooled = []
        for index in range(images.shape[1]):
            levels = self._encoders[index % len(self._encoders)](images[:, index], training=False)
            means = [tf.reduce_mean(tf.cast(level, tf.float32), axis=(1, 2)) for level in levels]
            pooled.append(tf.concat(means, axis=-1))
        return tf.stack(pooled, axis=1)


class InceptionFeatures:
    """Pooled features (2048) of an ImageNet InceptionV3; slices are resized to 299 x 299 in three equal channels.

    Nothing is downloaded. The weights differ from those of the original FID, so values are comparable only within this
    package.

    Raises:
      UnavailableError: the weights are not on this machine.
    """

    def __init__(self):
        self._network = tf.keras.applications.InceptionV3(
            include_top=False, weights=str(_inception_weights()), input_shape=(*_INCEPTION_SIZE, 3), pooling="avg"
        )

    def __call__(self, images: tf.Tensor) -> np.ndarray:
        # One modality at a time, because resized slices need much memory.
        slices = tf.unstack(tf.convert_to_tensor(images), axis=1)
        return np.stack([self._extract(image).numpy() for image in slices], axis=1)

    @tf.function(autograph=False, reduce_retracing=True)
    def _extract(self, image: tf.Tensor) -> tf.Tensor:
        enlarged = tf.image.resize(image, _INCEPTION_SIZE)
        return self._network(tf.repeat(2.0 * enlarged - 1.0, 3, axis=-1), training=False)


def _inception_weights() -> pathlib.Path:
    named = os.environ.get(INCEPTION_WEIGHTS_VARIABLE)
    home = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    path = pathlib.Path(named) if named else home / "models" / _INCEPTION_FILE
    if not path.is_file():
        raise UnavailableError(
            f"the file {path} with the ImageNet weights of InceptionV3 is missing, and nothing is downloaded; copy it "
            f"there, or give its path in the environment variable {INCEPTION_WEIGHTS_VARIABLE}"
        )
    return path
