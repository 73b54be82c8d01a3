"""The joint segmenter, and the modalities that it is trained without."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.models.adam import Adam
from mmsynth_tf.stages.segmentation.joint import JointSegmenter, drop_modalities

SIZE = (16, 16)


@pytest.fixture
def model() -> JointSegmenter:
    return JointSegmenter(SIZE, 3, 4, base_filters=2, levels=2)


def batch(rng) -> dict[str, tf.Tensor]:
    return {
        "image": tf.constant(rng.uniform(size=(4, *SIZE, 3)), tf.float32),
        "label": tf.constant(rng.integers(0, 4, (4, *SIZE, 1)), tf.int32),
    }


def test_a_step_trains_every_weight_on_both_losses(model, rng):
    model.compile({"lesion": Adam(1e-2)})
    before = [v.numpy() for v in model.groups["lesion"].variables]
    values = model.train_step(batch(rng))
    assert {"dice", "cross_entropy"} <= set(values)
    assert all(not np.array_equal(a, b.numpy()) for a, b in zip(before, model.groups["lesion"].variables, strict=True))


def test_probabilities_add_up_and_labels_are_their_largest(model, rng):
    images = batch(rng)["image"]
    probabilities = model.forward({"image": images}, training=False)["probabilities"]
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=-1), np.ones((4, *SIZE)), atol=1e-5)
    np.testing.assert_array_equal(model.segment(images), np.argmax(probabilities, axis=-1))


@pytest.mark.parametrize("kept", [(0,), (2,), (0, 1)])
def test_any_subset_of_modalities_is_segmented(model, rng, kept):
    given = np.isin(np.arange(3), kept).astype(np.float32)
    images = batch(rng)["image"] * given
    probabilities = model.forward({"image": images}, training=False)["probabilities"]
    assert np.all(np.isfinite(probabilities))
    assert np.ptp(np.asarray(probabilities), axis=(1, 2)).max() > 0


def test_half_of_the_slices_lose_modalities_but_never_all():
    images = tf.ones([2000, 2, 2, 4])
    left = np.asarray(drop_modalities(images, tf.constant([1, 2])))
    assert np.all(left == left[:, :1, :1])
    numbers = np.bincount(left[:, 0, 0].sum(axis=-1).astype(int), minlength=5) / 2000
    # Half keep four; the others keep one to four equally often.
    np.testing.assert_allclose(numbers, [0, 0.125, 0.125, 0.125, 0.625], atol=0.03)


def test_a_slice_with_a_single_modality_keeps_it():
    images = tf.ones([200, 2, 2, 3]) * tf.constant([0.0, 1.0, 0.0])
    np.testing.assert_array_equal(drop_modalities(images, tf.constant([5, 6])), images)
