"""Frames of heads: a lesion that moves to another head keeps its place and takes up as much of it."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import warping
from mmsynth_tf.generation import heads, lesion_slices

SIZE = (96, 80)
STILL = configs.AugmentationConfig(scale=0.0, rotation=0.0, translation=0.0, flip=False)


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1.0


SMALL, LARGE = ellipse((40, 46), (24, 20)), ellipse((50, 40), (32, 26))
LESION = ellipse((34, 36), (6, 4)) & SMALL


def place(lesion: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Centre of the lesion in units of the head's extents, from its middle."""
    own = heads.frame(head)
    return (np.argwhere(lesion).mean(axis=0) - own[:2]) / own[2:]


def test_the_frame_is_centre_and_extents():
    np.testing.assert_allclose(heads.frame(SMALL), [40, 46, 12, 10], rtol=0.02)


def test_a_slice_without_head_has_a_frame():
    assert np.all(heads.frame(np.zeros(SIZE, bool)) > 0)


def test_no_lesion_grows_or_shrinks_without_limit():
    tiny, huge = np.array([1, 1, 1, 10.0]), np.array([1, 1, 100.0, 11])
    np.testing.assert_allclose(heads.ratio(tiny, huge), [1.5, 1.1])
    np.testing.assert_allclose(heads.ratio(huge, tiny), [1 / 1.5, 1 / 1.1])


def test_heights_of_few_slices_do_not_matter():
    drawn = heads.near(np.linspace(0, 1, 8), np.array([0.0]), np.linspace(0, 0.999, 64)[None])
    assert set(drawn[0]) == set(range(8))


def test_a_label_keeps_its_place_in_another_head():
    transforms = warping.random_transforms(1, SIZE, STILL, tf.constant([0, 0]))
    source, target = (heads.frame(head)[None] for head in (SMALL, LARGE))
    move = warping.between_heads(transforms, SIZE, source[:, :2], target[:, :2], heads.ratio(source, target))
    label = tf.constant(LESION[None, ..., None].astype(np.uint8))
    moved = warping.transform(label, move, "NEAREST").numpy()[0, ..., 0] > 0
    np.testing.assert_allclose(place(moved, LARGE), place(LESION, SMALL), atol=0.05)
    assert moved.sum() / LARGE.sum() == pytest.approx(LESION.sum() / SMALL.sum(), rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_between_heads_a_label_moves_as_it_would_about_the_image_s_centre(seed):
    """Between equal heads in the middle of the image, nothing is added to turn, scaling, shift and mirroring."""
    transforms = warping.random_transforms(1, SIZE, configs.AugmentationConfig(), tf.constant([seed, 0]))
    middle, ones = tf.constant([[(SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2]]), tf.ones([1, 2])
    same = warping.between_heads(transforms, SIZE, middle, middle, ones)
    np.testing.assert_allclose(same, transforms, atol=1e-4)
    apart = warping.between_heads(
        transforms, SIZE, middle + tf.constant([[3.0, -5.0]]), middle + tf.constant([[-2.0, 4.0]]), ones
    )
    label = np.zeros((1, *SIZE, 1), np.uint8)
    label[0, 40:52, 34:50] = 1
    there, here = (np.roll(label, shift, (1, 2)) for shift in ((3, -5), (0, 0)))
    moved = warping.transform(tf.constant(there), apart, "NEAREST").numpy()
    expected = np.roll(warping.transform(tf.constant(here), transforms, "NEAREST").numpy(), (-2, 4), (1, 2))
    assert np.mean(moved != expected) < 0.002 and expected.sum() > 100


def test_pasted_and_painted_lesions_stay_near_their_place_or_its_mirror_image():
    image = np.stack([SMALL, LARGE])[..., None].astype(np.float32)
    label = np.stack([LESION, np.zeros(SIZE, bool)]).astype(np.uint8)
    moves = lesion_slices.Moves(image, label, np.zeros(2), np.array([0]))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        (move,) = moves.draw(1, 0, 1, rng)
        middle = np.linalg.solve(move.matrix, np.argwhere(LESION).mean(axis=0) - move.offset)
        found.append((middle - heads.frame(LARGE)[:2]) / heads.frame(LARGE)[2:])
    found, own = np.array(found), place(LESION, SMALL)
    # A turn of 30 degrees moves the lesion by half of its distance from the middle, a shift by 0.3 extents.
    reach = 0.52 * np.hypot(*own) * 1.3 + 0.43
    beside = np.minimum(np.hypot(*(found - own).T), np.hypot(*(found - own * (1, -1)).T))
    assert beside.max() < reach
    assert 60 < np.sum(found[:, 1] < 0) < 140
    assert found.std(axis=0).min() > 0.1


def test_the_transform_of_a_move_is_that_of_its_matrix():
    image = np.stack([SMALL, LARGE])[..., None].astype(np.float32)
    label = np.stack([LESION, np.zeros(SIZE, bool)]).astype(np.uint8)
    (move,) = lesion_slices.Moves(image, label, np.zeros(2), np.array([0])).draw(1, 0, 1, np.random.default_rng(3))
    moved = warping.transform(tf.constant(label[:1, ..., None]), tf.constant(move.transform[None]), "NEAREST")
    expected = scipy.ndimage.affine_transform(label[0], move.matrix, move.offset, order=0)
    assert np.mean(moved.numpy()[0, ..., 0] != expected) < 0.002 and expected.sum() > 50
    assert expected.sum() == pytest.approx(move.area * LESION.sum(), rel=0.15)
