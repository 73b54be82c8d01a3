"""Features of the segmenters, and of InceptionV3 where its weights are."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.metrics import feature_extractors
from tests.fakes import fakes

CONFIG = fakes.tiny_config(num_modalities=3)


@pytest.mark.parametrize("design", constants.LESION_DESIGNS)
def test_segmenter_features_are_averages_of_every_level(rng, design):
    segmenter = fakes.segmenter(fakes.tiny_config(num_modalities=3, segmentation__design=design))
    images = rng.random((2, 3, fakes.SIZE, fakes.SIZE, 1)).astype(np.float32)
    features = feature_extractors.SegmenterFeatures(segmenter)(images)
    encoders = segmenter.lesion_processor.encoders
    for index in range(3):
        levels = encoders[index % len(encoders)](images[:, index])
        expected = np.concatenate([level.numpy().mean(axis=(1, 2)) for level in levels], axis=-1)
        np.testing.assert_allclose(features[:, index], expected, atol=1e-5)


def test_weights_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(feature_extractors.INCEPTION_WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(
        feature_extractors.UnavailableError, match=r"notop\.h5 with .* environment variable MMSYNTH_INCEPTION_WEIGHTS"
    ):
        feature_extractors.InceptionFeatures()


def test_inception_sees_each_slice_enlarged_in_three_channels_from_minus_one_to_one(monkeypatch, tmp_path, rng):
    weights = tmp_path / "weights.h5"
    weights.touch()
    monkeypatch.setenv(feature_extractors.INCEPTION_WEIGHTS_VARIABLE, str(weights))

    def network(include_top, weights, input_shape, pooling):
        assert not include_top and pooling == "avg" and weights == str(tmp_path / "weights.h5")
        inputs = tf.keras.Input(input_shape)
        return tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(inputs))

    monkeypatch.setattr(tf.keras.applications, "InceptionV3", network)
    images = np.broadcast_to(rng.random((2, 3, 1, 1, 1)), (2, 3, 16, 16, 1)).astype(np.float32)
    features = feature_extractors.InceptionFeatures()(images)
    # Averages over 299 x 299 pixels in single precision.
    expected = np.repeat(2 * images[:, :, 0, 0] - 1, 3, axis=-1)
    np.testing.assert_allclose(features, expected, atol=5e-3)
