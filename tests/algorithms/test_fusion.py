"""Fusion of maps and labels, the fit of a label in a head, and random transforms."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import fusion, warping
from mmsynth_tf.configs import tree

SEED = tf.constant([1, 2])
STILL = configs.AugmentationConfig(scale=0.0, rotation=0.0, translation=0.0, flip=False)


def label_of(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.uint8)[None, :, :, None]


def disc(size=32, radius=8, column=16) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    inside = (rows - (size - 1) / 2) ** 2 + (columns - column) ** 2 < radius**2
    return inside.astype(np.uint8)[None, :, :, None]


def test_each_channel_is_the_weighted_sum_of_map_and_class():
    structure = tf.constant([[1.0, 0.0, 1.0]])[None, :, :, None]
    fused = fusion.fuse(structure, label_of([[0, 1, 2]]), 3, structure_weight=0.8, label_weight=0.2)
    np.testing.assert_allclose(fused[0, 0], [[1.0, 0.8, 0.8], [0.0, 0.2, 0.0], [0.8, 0.8, 1.0]])


def test_concatenation_keeps_map_and_label_apart():
    structure = tf.constant([[1.0, 0.0]])[None, :, :, None]
    fused = fusion.fuse(structure, label_of([[1, 0]]), 2, concatenate=True)
    np.testing.assert_allclose(fused[0, 0], [[1, 0, 1], [0, 1, 0]])


def test_noise_fills_the_head_where_the_map_has_no_edge():
    structure, background = (tf.constant([row])[None, :, :, None] for row in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))
    filled = fusion.noise_fill(structure, background, tf.fill([1, 1, 3, 1], 0.5))
    np.testing.assert_allclose(filled[0, 0, :, 0], [1.0, 0.55, 0.0], rtol=1e-6)


def test_edges_of_a_slices_own_lesion_are_erased():
    kept = fusion.remove_lesion_edges(tf.ones([1, 1, 3, 1]), label_of([[0, 4, 1]]))
    np.testing.assert_array_equal(kept[0, 0, :, 0], [1.0, 0.0, 0.0])


def test_an_own_label_ends_where_the_head_ends():
    # The head is the middle of the slice; its annotation covers the left half.
    image, label = np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 2:6, 2:6, 0] = np.linspace(0.1, 1.0, 16).reshape(4, 4)
    label[0, :, :4] = 2
    cut, structure, background = fusion.own_map(image, label, configs.StructureMapConfig(background_expand=0))
    np.testing.assert_array_equal(background, image == 0)
    np.testing.assert_array_equal(cut, np.where(image > 0, label, 0))
    assert np.any(structure) and not np.any(structure * tf.cast(cut, tf.float32))


def test_a_label_fits_when_no_lesion_pixel_is_outside_the_head():
    background = np.array([[1, 0, 0, 1], [0, 0, 0, 0]], np.float32)[:, None, :, None]
    labels = np.concatenate([label_of([[0, 1, 2, 0]]), label_of([[0, 0, 1, 4]]), label_of([[0, 0, 0, 0]])])
    np.testing.assert_array_equal(fusion.fits(background, labels), [[True, False, True], [True, True, True]])


def test_one_pixel_outside_is_too_much_whatever_the_size():
    background = np.zeros((1, 256, 256, 1), np.float32)
    background[0, 0, 0] = 1.0
    label = np.ones((1, 256, 256, 1), np.uint8)
    assert not fusion.fits(background, label)[0, 0]
    label[0, 0, 0] = 0
    assert fusion.fits(background, label)[0, 0]


def test_labels_are_chosen_among_those_that_fit():
    background = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 1]], np.float32)[:, None, :, None]
    candidates = np.concatenate([label_of([[1, 0, 0]]), label_of([[0, 0, 2]])])
    own = np.concatenate([label_of([[0, 3, 0]])] * 3)
    for seed in range(5):
        chosen, found = fusion.choose_labels(background, candidates, own, tf.constant([seed, 0]))
        np.testing.assert_array_equal(chosen[:, 0, :, 0], [[0, 0, 2], [1, 0, 0], [0, 3, 0]])
        np.testing.assert_array_equal(found, [True, True, False])


def test_labels_that_fit_are_equally_likely():
    background = np.zeros((600, 1, 2, 1), np.float32)
    candidates = np.concatenate([label_of([[c, c]]) for c in (1, 2, 3)])
    chosen, _ = fusion.choose_labels(background, candidates, np.zeros((600, 1, 2, 1), np.uint8), SEED)
    counts = np.bincount(chosen[:, 0, 0, 0], minlength=4)[1:]
    # 200 expected of each, standard deviation 12.
    assert np.all(np.abs(counts - 200) < 60)


@pytest.mark.parametrize("interpolation", ["NEAREST", "BILINEAR"])
def test_without_ranges_a_transform_changes_nothing(rng, interpolation):
    images = rng.uniform(size=(2, 8, 10, 3)).astype(np.float32)
    transforms = warping.random_transforms(2, (8, 10), STILL, SEED)
    np.testing.assert_allclose(warping.transform(images, transforms, interpolation), images, atol=1e-5)


@pytest.mark.parametrize("width", [8, 9])
def test_a_flip_mirrors_left_and_right_exactly(width):
    image = np.arange(2 * width, dtype=np.float32).reshape(1, 2, width, 1)
    flips = tree.override(STILL, {"flip": True})
    transforms = warping.random_transforms(40, (2, width), flips, SEED)
    results = warping.transform(tf.repeat(image, 40, axis=0), transforms, "NEAREST").numpy()
    mirrored = [np.array_equal(result, image[0, :, ::-1]) for result in results]
    same = [np.array_equal(result, image[0]) for result in results]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 8 <= sum(mirrored) <= 32


def test_translation_shifts_by_at_most_its_share_of_the_size():
    config = tree.override(STILL, {"translation": 0.25})
    offsets = warping.random_transforms(200, (16, 32), config, SEED).numpy()
    for offset, extent in ((offsets[:, 2], 32), (offsets[:, 5], 16)):
        assert 0.2 * extent < np.abs(offset).max() <= 0.25 * extent and offset.min() < 0 < offset.max()


def test_scale_and_rotation_keep_within_their_ranges_and_the_centre_in_place():
    config = tree.override(STILL, {"scale": 0.2, "rotation": 30.0})
    a, b, x, c, d, y, *_ = warping.random_transforms(200, (16, 32), config, SEED).numpy().T
    scale, angle = np.sqrt(a * d - b * c), np.degrees(np.arctan2(c, a))
    assert 1 / 1.2 - 1e-5 <= scale.min() < 0.9 and 1.1 < scale.max() <= 1.2 + 1e-5
    assert -30.001 <= angle.min() < -20 and 20 < angle.max() <= 30.001
    np.testing.assert_allclose(a * 15.5 + b * 7.5 + x, 15.5, atol=1e-4)
    np.testing.assert_allclose(c * 15.5 + d * 7.5 + y, 7.5, atol=1e-4)


def test_transformed_labels_keep_their_classes_and_type():
    label = 4 * disc()
    transforms = warping.random_transforms(1, (32, 32), configs.AugmentationConfig(), SEED)
    moved = warping.transform(label, transforms, "NEAREST")
    assert moved.dtype == tf.uint8 and set(np.unique(moved)) == {0, 4}


def test_image_and_label_move_together():
    config = configs.AugmentationConfig(translation=0.2)
    label = np.repeat(disc(column=12), 10, axis=0)
    transforms = warping.random_transforms(10, (32, 32), config, SEED)
    image = warping.transform(label.astype(np.float32), transforms, "BILINEAR").numpy()
    moved = warping.transform(label, transforms, "NEAREST").numpy()
    disagree = np.mean((image > 0.5) != (moved == 1))
    assert disagree < 0.02 and np.any(moved != label)


def test_the_same_seed_draws_the_same_transforms():
    draw = [warping.random_transforms(4, (8, 8), configs.AugmentationConfig(), tf.constant([3, s])) for s in (4, 4, 5)]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert not np.array_equal(draw[0], draw[2])
