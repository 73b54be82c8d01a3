"""Strong augmentation of registered slices: what moves, what stays, and what is drawn again."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.algorithms.strong_augmentation import StrongAugmentation, augment

SHARES = {f.name: 0.0 for f in dataclasses.fields(StrongAugmentation) if f.name.endswith("_share")}
NOTHING = StrongAugmentation(**SHARES)
SEED = tf.constant([3, 4])


@pytest.fixture
def slices(rng) -> tuple[tf.Tensor, tf.Tensor]:
    """Twelve slices with two modalities, a head off the centre, and a label in it."""
    images, labels = np.zeros((12, 24, 16, 2), np.float32), np.zeros((12, 24, 16, 1), np.uint8)
    images[:, 4:18, 3:12] = rng.uniform(0.2, 0.9, (12, 14, 9, 2))
    labels[:, 6:11, 5:9] = 4
    return tf.constant(images), tf.constant(labels)


def test_nothing_changes_where_nothing_is_to_happen(slices):
    images, labels = augment(*slices, SEED, NOTHING)
    np.testing.assert_allclose(images, slices[0], atol=1e-6)
    np.testing.assert_array_equal(labels, slices[1])


@pytest.mark.parametrize("share", sorted(SHARES))
def test_each_change_happens_and_leaves_the_background_0(slices, share):
    images, labels = augment(*slices, SEED, dataclasses.replace(NOTHING, **{share: 1.0}))
    assert np.all(np.isfinite(images))
    assert not np.allclose(images, slices[0], atol=1e-3)
    moves = share in ("rotation_share", "scale_share", "mirror_share")
    assert np.array_equal(labels, slices[1]) != moves
    if not moves:
        np.testing.assert_array_equal(images > 0, slices[0] > 0)


def test_labels_move_with_their_images():
    blob = np.zeros((16, 32, 32, 1), np.uint8)
    blob[:, 8:14, 18:24] = 3
    moving = dataclasses.replace(NOTHING, rotation_share=1.0, scale_share=1.0, mirror_share=0.5)
    images, labels = augment(tf.constant(blob / 3, tf.float32), tf.constant(blob), SEED, moving)
    np.testing.assert_array_equal(np.unique(labels), [0, 3])
    different = (images.numpy() > 0.5) != (labels.numpy() > 0)
    # Interpolation and rounding may disagree at the outline, not within.
    assert different.sum() < 0.1 * (labels.numpy() > 0).sum()
    assert len({labels.numpy()[i].tobytes() for i in range(16)}) > 12


def test_a_missing_modality_stays_missing(slices):
    images = slices[0] * tf.constant([1.0, 0.0])
    always = StrongAugmentation(**dict.fromkeys(SHARES, 1.0))
    changed, _ = augment(images, slices[1], SEED, always)
    assert np.all(np.isfinite(changed))
    assert np.all(changed[..., 1] == 0) and np.any(changed[..., 0] > 0)


def test_the_same_seed_draws_the_same_and_another_seed_does_not(slices):
    first, again, other = (augment(*slices, seed)[0] for seed in (SEED, SEED, SEED + 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_gamma_keeps_mean_and_deviation_of_the_head(slices):
    images, _ = augment(*slices, SEED, dataclasses.replace(NOTHING, gamma_share=1.0))
    for statistic in (np.mean, np.std):
        before, after = (statistic(np.asarray(x)[:, 4:18, 3:12], axis=(1, 2)) for x in (slices[0], images))
        np.testing.assert_allclose(after, before, atol=1e-3)
