"""Tests of the labels that synthetic slices draw from."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.generation.label_pool import LabelPool

TRIES = 16


@pytest.fixture
def pool() -> LabelPool:
    """Labels of 100 slices whose order is not that of their positions."""
    positions = np.random.default_rng(0).permutation(np.linspace(-0.1, 1.1, 100, dtype=np.float32))
    return LabelPool(tf.zeros([100, 4, 4, 1], tf.uint8), [f"a:{i}" for i in range(100)], positions, np.ones((100, 4)))


@pytest.mark.parametrize("position", [0.0, 0.3, 0.5, 1.0])
def test_a_label_is_drawn_from_slices_of_about_the_same_height(pool, position):
    chances = np.random.default_rng(1).random([50, TRIES])
    drawn = pool.near(np.full(50, position, np.float32), chances)
    assert drawn.shape == (50, TRIES)
    assert len(np.unique(drawn)) == 20
    # A fifth of the labels lies between -0.1 and 1.1; at the ends all of it is on one side.
    assert np.abs(pool.positions[drawn] - position).max() <= (0.13 if 0.1 < position < 0.9 else 0.16)


def test_the_last_label_of_the_window_is_drawn_too(pool):
    drawn = pool.near(np.array([2.0, -1.0], np.float32), np.array([[0.999999], [0.0]]))
    assert pool.positions[drawn[:, 0]] == pytest.approx([1.1, -0.1])


def test_a_single_label_serves_every_height():
    pool = LabelPool(tf.zeros([1, 4, 4, 1], tf.uint8), ["a:0"], np.array([0.5], np.float32), np.ones((1, 4)))
    assert pool.near(np.array([0.0, 1.0]), np.zeros([2, TRIES])).tolist() == [[0] * TRIES] * 2
