"""Losses: golden values with their derivations."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.models import losses


def test_squared_error_is_the_mean_over_all_elements():
    # (1 + 4 + 0 + 9) / 4
    assert float(losses.squared_error(tf.constant([[1.0, 2.0], [0.0, -3.0]]))) == pytest.approx(3.5)
    assert float(losses.squared_error(tf.constant([3.0, 5.0]), 4.0)) == pytest.approx(1.0)


def test_squared_error_of_half_precision_is_computed_in_float32():
    # 300² overflows float16.
    assert float(losses.squared_error(tf.constant([300.0], tf.float16))) == pytest.approx(90_000.0)


def test_least_squares_losses_pull_to_one_and_to_zero():
    scores = tf.constant([0.0, 1.0, 3.0])
    assert float(losses.least_squares_real_loss(scores)) == pytest.approx((1 + 0 + 4) / 3)
    assert float(losses.least_squares_fake_loss(scores)) == pytest.approx((0 + 1 + 9) / 3)


def test_moments_are_those_of_the_whole_batch():
    # Mean 1, so 1²; mean standard deviation (1 + 2) / 2, so 0.5².
    z_mean = tf.constant([[0.0], [2.0]])
    z_log_var = tf.constant([[0.0], [2 * math.log(2.0)]])
    assert float(losses.moments_loss(z_mean, z_log_var)) == pytest.approx(1.25)
    # Codes that differ but average to the standard normal's moments cost nothing, unlike in a mean of single losses.
    assert float(losses.moments_loss(tf.constant([[-5.0], [5.0]]), tf.zeros([2, 1]))) == pytest.approx(0.0)


def test_divergence_is_zero_for_the_standard_normal_only():
    assert float(losses.divergence_loss(tf.zeros([2, 3]), tf.zeros([2, 3]))) == 0.0
    # Mean 1: 1/2. Variance e: (e - 1 - 1) / 2.
    assert float(losses.divergence_loss(tf.ones([1, 1]), tf.zeros([1, 1]))) == pytest.approx(0.5)
    assert float(losses.divergence_loss(tf.zeros([1, 1]), tf.ones([1, 1]))) == pytest.approx((math.e - 2) / 2)


def test_modality_regression_compares_patches_with_the_number_of_the_modality():
    scores = tf.constant([0.0, 4.0], shape=[2, 1, 1, 1]) * tf.ones([2, 2, 2, 1])
    # (0 - 1)² and (4 - 2)².
    assert float(losses.modality_regression_loss(scores, tf.constant([1, 2]))) == pytest.approx(2.5)


def test_modality_classification_is_log_n_for_even_scores():
    logits = tf.zeros([3, 2, 2, 4])
    assert float(losses.modality_classification_loss(logits, tf.constant([0, 1, 3]))) == pytest.approx(math.log(4))


def test_modality_classification_asks_each_slice_for_its_own_modality():
    logits = 50.0 * tf.one_hot([[[2]], [[0]]], 3)
    assert float(losses.modality_classification_loss(logits, tf.constant([2, 0]))) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.modality_classification_loss(logits, tf.constant([2, 1]))) == pytest.approx(25.0)


def test_lesion_squared_error_weighs_each_class():
    one_hot, probabilities = tf.constant([[1.0, 0.0]]), tf.constant([[0.5, 0.2]])
    # (1 * 0.25 + 10 * 0.04) / 2
    assert float(losses.lesion_squared_error(one_hot, probabilities, (1.0, 10.0))) == pytest.approx(0.325)


def test_the_last_class_weight_stands_for_all_that_follow():
    # (1 + 10 + 10 + 10) / 4
    one_hot = tf.zeros([1, 2, 3, 4])
    assert float(losses.lesion_squared_error(one_hot, one_hot + 1.0, (1.0, 10.0))) == pytest.approx(7.75)


def test_soft_dice_by_hand():
    # One lesion class, truth on two of four pixels, 0.5 everywhere: 2 * 1 / (2 + 2) = 0.5.
    truth = tf.one_hot(tf.constant([[[1, 1, 0, 0]]]), 2)
    assert float(losses.soft_dice_loss(truth, tf.fill([1, 1, 4, 2], 0.5))) == pytest.approx(0.5, abs=1e-5)
    assert float(losses.soft_dice_loss(truth, truth)) == pytest.approx(0.0, abs=1e-5)
    assert float(losses.soft_dice_loss(truth, 1.0 - truth)) == pytest.approx(1.0)


def test_soft_dice_leaves_absent_classes_out():
    truth, predicted = tf.one_hot(tf.constant([[[1, 0]]]), 3), tf.one_hot(tf.constant([[[1, 2]]]), 3)
    assert float(losses.soft_dice_loss(truth, predicted)) == pytest.approx(0.0, abs=1e-5)


def test_soft_dice_without_any_lesion_is_zero_and_has_a_finite_gradient():
    truth = tf.one_hot(tf.zeros([1, 2, 2], tf.int32), 3)
    predicted = tf.Variable(tf.fill([1, 2, 2, 3], 1 / 3))
    with tf.GradientTape() as tape:
        loss = losses.soft_dice_loss(truth, predicted)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, predicted), tf.zeros_like(predicted))


def test_cross_entropy_by_hand_and_finite_at_zero():
    one_hot = tf.one_hot(tf.constant([[[0, 1]]]), 2)
    probabilities = tf.constant([[[[0.5, 0.5], [0.75, 0.25]]]])
    assert float(losses.cross_entropy(one_hot, probabilities)) == pytest.approx(
        (math.log(2) + math.log(4)) / 2, abs=1e-5
    )
    assert np.isfinite(losses.cross_entropy(one_hot, 1.0 - one_hot))


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_pairwise_squared_error_is_the_sum_over_ordered_pairs(rng, members):
    a = rng.normal(size=(2, 3, members, 5)).astype(np.float32)
    expected = 0.0
    for group in range(3):
        for j in range(members):
            for k in range(members):
                expected += np.mean((a[:, group, j] - a[:, group, k]) ** 2)
    assert float(losses.pairwise_squared_error(tf.constant(a))) == pytest.approx(expected, rel=1e-5)


def test_weighted_sum_multiplies_each_term_that_has_a_weight_once():
    terms = {"first": tf.constant(3.0), "second": tf.constant(4.0), "of another group": tf.constant(100.0)}
    assert float(losses.weighted_sum({"first": 2.0, "second": 0.5}, terms)) == pytest.approx(8.0)


@pytest.mark.parametrize("weights", [{"first": 1.0, "second": 1.0}, {}])
def test_weighted_sum_refuses_a_weight_without_its_term_and_no_weight(weights):
    with pytest.raises(ValueError, match="do not match the weights"):
        losses.weighted_sum(weights, {"first": tf.constant(1.0)})
