"""Frames of heads: a lesion that moves to another head keeps its place and takes up as much of it."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import warping
from mmsynth_tf.generation import heads, lesion_slices

SIZE = (96, 96)
STILL = configs.AugmentationConfig(scale=0.0, rotation=0.0, translation=0.0, flip=False)


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1.0


SMALL, LARGE = ellipse((40, 50), (24, 20)), ellipse((50, 44), (32, 26))
LESION = ellipse((34, 40), (6, 4)) & SMALL


def place(lesion: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Centre of the lesion in units of the head's extents, from its middle."""
    own = heads.frame(head)
    return (np.argwhere(lesion).mean(axis=0) - own[:2]) / own[2:]


def test_the_frame_is_centre_and_extents():
    np.testing.assert_allclose(heads.frame(SMALL), [40, 50, 12, 10], rtol=0.02)


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
    assert moved.numpy().sum() == pytest.approx(move.area * LESION.sum(), rel=0.15)
