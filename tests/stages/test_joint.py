"""The joint segmenter, and the modalities that it is trained without."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants, input_pipeline
from mmsynth_tf.configs import tree
from mmsynth_tf.metrics.segmentation import dice
from mmsynth_tf.models.adam import Adam
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter, drop_modalities
from mmsynth_tf.stages.joint.stage import joint_batches
from mmsynth_tf.training import runs
from tests.fakes import fakes, fakes_sets

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


def test_batches_hold_whole_slices_with_some_modalities_missing():
    config = fakes.tiny_config(3, joint__batch_size=4)
    source = input_pipeline.registered_source([fakes.slices(5, config)])
    batches = list(joint_batches(source, config).take(8))
    image, label = (np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))
    assert image.shape == (32, fakes.SIZE, fakes.SIZE, 3) and label.shape == (32, fakes.SIZE, fakes.SIZE, 1)
    given = image.any(axis=(1, 2))
    assert given.any(axis=1).all() and {1, 3} <= set(given.sum(axis=1))
    # All modalities of a slice are moved together: their heads are the same.
    heads = image > 0
    whole = given.all(axis=1)
    np.testing.assert_array_equal(heads[whole, ..., 0], heads[whole, ..., 2])


def test_trained_from_a_prepared_set_it_finds_lesions_in_any_modality(tmp_path):
    data = fakes_sets.real_data(train=12)
    for examples in data.examples.values():
        # Lesions are brighter than all else, whatever their class.
        examples["label"] = np.minimum(examples["label"], 1)
        examples["image"] *= np.float16(0.6)
        examples["image"][np.broadcast_to(examples["label"][:, None] > 0, examples["image"].shape)] = 1.0
    sizes = {"segmentation__base_filters": 8, "joint__batch_size": 8}
    config = fakes.tiny_config(2, 3, **sizes, **fakes.short_runs(steps=150, interval=150))
    config = tree.override(config, {"runtime.ema_decay": 0.9})
    runs.train(constants.JOINT, config, [data], tmp_path)
    model, _ = runs.load(constants.JOINT, tmp_path)
    test = data.examples["test"]
    for kept in ([1, 1], [1, 0], [0, 1]):
        images = np.moveaxis(test["image"][..., 0], 1, -1).astype(np.float32) * kept
        assert dice(test["label"][..., 0] > 0, model.segment(tf.constant(images, tf.float32)).numpy() > 0) > 0.9
