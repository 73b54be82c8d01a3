"""Which pairs of modalities a step translates."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.stages.synthesis import pairs


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_exact_pairs_are_all_ordered_pairs_in_runs_of_one_source(modalities):
    source, target = (side.numpy() for side in pairs.exact_pairs(3, modalities))
    for row in range(3):
        drawn = list(zip(source[row], target[row], strict=True))
        assert sorted(drawn) == list(itertools.permutations(range(modalities), 2))
    runs = source.reshape(3, -1, pairs.run_length(modalities, triples=0))
    assert np.all(runs == runs[:, :, :1])


@pytest.mark.parametrize("modalities", [3, 4, 7])
def test_sampled_triples_name_three_different_modalities(modalities):
    source, target = (side.numpy() for side in pairs.sampled_pairs(50, modalities, 3, tf.constant([1, 2])))
    assert source.shape == target.shape == (50, 3 * pairs.run_length(modalities, triples=3)) == (50, 6)
    for i, j in zip(source.reshape(-1, 2), target.reshape(-1, 2), strict=True):
        assert i[0] == i[1]
        assert len({i[0], *j}) == 3 and max(i[0], *j) < modalities


def test_two_modalities_give_single_pairs():
    source, target = (side.numpy() for side in pairs.sampled_pairs(20, 2, 1, tf.constant([1, 2])))
    assert source.shape == (20, 1)
    np.testing.assert_array_equal(source + target, 1)


def test_all_triples_are_equally_likely():
    source, target = (side.numpy() for side in pairs.sampled_pairs(6000, 3, 1, tf.constant([3, 4])))
    counts = collections.Counter(zip(source[:, 0], target[:, 0], target[:, 1], strict=True))
    assert set(counts) == set(itertools.permutations(range(3), 3))
    # 1000 expected of each, standard deviation 29.
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_the_same_seed_draws_the_same_pairs():
    first, again, other = (pairs.sampled_pairs(8, 4, 2, tf.constant([5, s])) for s in (6, 6, 7))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
