"""Layers: values by hand, and configurations that rebuild them."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.models.layers import (
    AppendCondition,
    ConditionalInstanceNormalization,
    DepthToSpace,
    InstanceNormalization,
    OuterCondition,
    SpaceToDepth,
    UpsampleConv2D,
)


def test_instance_normalisation_standardises_each_channel_of_each_image(rng):
    images = tf.constant(rng.normal(3.0, 5.0, (2, 8, 8, 3)), tf.float32)
    normalised = InstanceNormalization()(images).numpy()
    np.testing.assert_allclose(normalised.mean(axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=(1, 2)), 1.0, atol=1e-4)


def test_instance_normalisation_scales_and_shifts():
    layer = InstanceNormalization(epsilon=0.0)
    images = tf.constant([1.0, -1.0], shape=[1, 1, 2, 1])
    layer(images)
    layer.gamma.assign([3.0])
    layer.beta.assign([10.0])
    np.testing.assert_allclose(layer(images)[0, 0, :, 0], [13.0, 7.0])


def test_instance_normalisation_of_a_constant_image_is_its_shift():
    np.testing.assert_array_equal(InstanceNormalization()(tf.fill([1, 4, 4, 1], 7.0)), np.zeros((1, 4, 4, 1)))


def test_instance_normalisation_of_half_precision_keeps_its_statistics_in_float32(rng):
    # The mean of squares, 10⁶, is beyond float16.
    images = tf.constant(rng.normal(1000.0, 4.0, (1, 16, 16, 1)), tf.float16)
    layer = InstanceNormalization(dtype="mixed_float16")
    result = layer(images)
    assert result.dtype == tf.float16
    assert float(tf.math.reduce_std(tf.cast(result, tf.float32))) == pytest.approx(1.0, abs=1e-2)


def test_gradients_of_instance_normalisation_are_those_of_its_formula(rng):
    images, upstream = (tf.constant(rng.normal(2.0, 3.0, (2, 4, 6, 3)), tf.float32) for _ in range(2))
    layer = InstanceNormalization()
    layer(images)  # Builds it.
    layer.gamma.assign([1.0, 2.0, -3.0])
    layer.beta.assign([0.0, 5.0, 1.0])
    gamma, beta = (tf.convert_to_tensor(weight) for weight in (layer.gamma, layer.beta))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([images, gamma, beta])
        result = layer(images)
        mean, variance = tf.nn.moments(images, (1, 2), keepdims=True)
        expected = gamma * (images - mean) / tf.sqrt(variance + layer.epsilon) + beta
    np.testing.assert_allclose(result, expected, atol=1e-5)
    actual = tape.gradient(result, [images, *layer.trainable_variables], upstream)
    for a, b in zip(actual, tape.gradient(expected, [images, gamma, beta], upstream), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# Coarse and fine features in some order: shapes, and which are coarse.
UPSAMPLED = [
    ([(2, 3, 5, 2)], [True]),
    ([(2, 3, 5, 2), (2, 6, 10, 3)], [True, False]),
    ([(2, 6, 10, 3), (2, 3, 5, 2)], [False, True]),
    ([(1, 1, 1, 4)], [True]),
]


@pytest.mark.parametrize(("shapes", "coarse"), UPSAMPLED)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_upsampling_convolves_repeated_pixels(shapes, coarse, jit_compile, rng):
    features = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    layer = UpsampleConv2D(3)
    upstream = tf.constant(rng.normal(size=layer(features).shape), tf.float32)
    layer.bias.assign([1.0, -2.0, 3.0])
    kernel, bias = (tf.convert_to_tensor(weight) for weight in (layer.kernel, layer.bias))

    @tf.function(jit_compile=jit_compile)
    def results():
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([*features, kernel, bias])
            repeated = [tf.repeat(tf.repeat(x, 2, 1), 2, 2) if c else x for x, c in zip(features, coarse, strict=True)]
            expected = tf.nn.conv2d(tf.concat(repeated, -1), kernel, 1, "SAME") + bias
            actual = layer(features)
        expected_gradients = tape.gradient(expected, [*features, kernel, bias], upstream)
        return (actual, *tape.gradient(actual, [*features, *layer.weights], upstream)), (expected, *expected_gradients)

    for actual, expected in zip(*results(), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_attributes_have_a_place_of_their_own_for_each_choice():
    choice, attributes = tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([[2.0, 3.0], [-4.0, 0.5]])
    result = OuterCondition()([choice, attributes])
    np.testing.assert_array_equal(result, [[0, 0, 0, 1, 2, 3], [1, -4, 0.5, 0, 0, 0]])


def test_a_condition_is_appended_to_every_pixel_of_its_own_row():
    features, condition = tf.zeros([2, 3, 4, 5]), tf.constant([[1.0, 2.0], [3.0, 4.0]])
    result = AppendCondition()([features, condition])
    assert result.shape == (2, 3, 4, 7)
    np.testing.assert_array_equal(result[..., :5], features)
    for row in range(2):
        np.testing.assert_array_equal(result[row, :, :, 5:], np.broadcast_to(condition[row], (3, 4, 2)))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (UpsampleConv2D(3), [(None, 4, 6, 2)], (None, 8, 12, 3)),
        (UpsampleConv2D(3), [(None, 8, 12, 5), (None, 4, 6, 2)], (None, 8, 12, 3)),
        (AppendCondition(), [(None, 4, 6, 2), (None, 3)], (None, 4, 6, 5)),
    ],
)
def test_output_shapes_are_known_without_data(layer, shape, expected):
    assert tuple(layer.compute_output_shape(shape)) == expected


def test_upsampling_is_rebuilt_from_its_configuration():
    layer = UpsampleConv2D(3, use_bias=False, kernel_initializer="glorot_uniform")
    config = UpsampleConv2D.from_config(layer.get_config()).get_config()
    assert config == layer.get_config()


def test_a_layer_is_rebuilt_from_its_configuration():
    assert InstanceNormalization.from_config(InstanceNormalization(epsilon=0.5).get_config()).epsilon == 0.5


def test_conditional_normalisation_scales_and_shifts_by_condition(rng):
    layer = ConditionalInstanceNormalization()
    images = tf.constant(rng.normal(size=(2, 8, 8, 1)), tf.float32)
    condition = tf.one_hot([0, 1], 2)
    plain = layer([images, condition])
    layer.scale.assign([[0.0], [2.0]])
    layer.shift.assign([[5.0], [0.0]])
    expected = np.stack([plain[0] + 5.0, 3.0 * plain[1]])
    np.testing.assert_allclose(layer([images, condition]), expected, atol=1e-5)


def test_space_to_depth_and_back_changes_nothing(rng):
    images = tf.constant(rng.normal(size=(2, 4, 6, 3)), tf.float32)
    blocks = SpaceToDepth(2)(images)
    assert blocks.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(DepthToSpace(2)(blocks), images)
