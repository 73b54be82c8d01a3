"""Distances against literal loops, and copies that were planted."""

import numpy as np
import pytest

from mmsynth_tf.metrics.nearest import Closeness, CopyCheck, Described, distances, nearest


def random_slices(rng, count, channels=2, pixels=10):
    mask = rng.random((count, pixels)) < 0.7
    present = np.ones((count, channels))
    present[::2, 0] = 0
    return Described.of(rng.random((count, channels, pixels)), mask, present)


def everywhere(values):
    """Slices of one channel that fill their picture."""
    return Described.of(values[:, None], np.ones_like(values), np.ones((len(values), 1)))


def test_distances_equal_the_literal_formula(rng):
    a, b = random_slices(rng, 4), random_slices(rng, 5)
    table = distances(a, b)
    for i, j in np.ndindex(table.shape):
        both = (a.present[i] * b.present[j]) > 0
        union = (a.mask[i] + b.mask[j]) > 0
        expected = np.sqrt(np.mean((a.values[i][both][:, union] - b.values[j][both][:, union]) ** 2))
        assert table[i, j] == pytest.approx(expected, abs=1e-5)


def test_slices_without_a_common_channel_are_infinitely_far(rng):
    values, mask = rng.random((1, 2, 4)), np.ones((1, 4))
    a, b = (Described.of(values, mask, np.array([present])) for present in ([1, 0], [0, 1]))
    assert distances(a, b)[0, 0] == np.inf


def test_the_ratio_is_to_the_nearest_slice_of_another_patient():
    reference = everywhere(np.array([[0.0], [0.1], [4.0]]))
    found, index = nearest([everywhere(np.array([[1.0]]))], reference, ["a", "a", "b"])
    assert index[0] == 1
    assert found.distance[0] == pytest.approx(0.9)
    assert found.ratio[0] == pytest.approx(0.9 / 3.0)


def test_one_patient_alone_gives_no_ratio():
    found, _ = nearest([everywhere(np.array([[1.0]]))], everywhere(np.array([[0.0], [3.0]])), ["a", "a"])
    assert found.ratio[0] == 1


def test_patients_may_come_in_any_order(rng):
    reference, queries = everywhere(rng.random((6, 5))), everywhere(rng.random((3, 5)))
    patients = np.array(["c", "a", "b", "a", "c", "b"])
    found, index = nearest([queries], reference, patients)
    table = distances(queries, reference)
    for row, number in enumerate(index):
        other = table[row, patients != patients[number]].min()
        assert found.ratio[row] == pytest.approx(table[row, number] / other)


def check(rng, synthetic):
    """What the check makes of slices beside unseen ones, all of 50 random pixels; 40 training slices of 40 patients."""
    training, unseen = (np.random.default_rng(seed).random((40, 50)) for seed in (1, 2))
    patients = [str(number) for number in range(40)]
    found = [nearest([everywhere(slices)], everywhere(training), patients)[0] for slices in (synthetic, unseen)]
    return CopyCheck(*found)


def training_slices():
    return np.random.default_rng(1).random((40, 50))


def test_new_slices_are_no_copies(rng):
    found = check(rng, rng.random((40, 50)))
    assert not found.suspected
    assert found.sentence().startswith("No copies found: 0 of 40")


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_single_copy_among_many_is_found(rng, noise):
    synthetic = rng.random((40, 50))
    synthetic[7] = training_slices()[3] + noise * rng.standard_normal(50)
    found = check(rng, synthetic)
    assert found.copies == 1
    assert found.sentence().startswith("Copies suspected: 1 of 40")


def test_washed_out_copies_are_found_by_the_ratio(rng):
    found = check(rng, 0.5 + 0.8 * (training_slices() - 0.5))
    assert found.suspected


def test_washed_out_new_slices_are_close_to_everything_and_no_copies(rng):
    found = check(rng, 0.5 + 0.3 * (rng.random((40, 50)) - 0.5))
    assert found.share_close == 1
    assert not found.suspected


def test_more_than_a_few_slices_close_to_one_patient_alone_are_suspected():
    unseen = Closeness(np.ones(100), np.linspace(0.8, 1.0, 100))
    few, many = (np.where(np.arange(100) < count, 0.75, 0.95) for count in (5, 6))
    assert not CopyCheck(Closeness(np.ones(100), few), unseen).suspected
    assert CopyCheck(Closeness(np.ones(100), many), unseen).suspected


def test_one_slice_of_a_small_set_that_is_close_to_one_patient_is_not_suspected():
    unseen = Closeness(np.ones(100), np.linspace(0.8, 1.0, 100))
    one, two = (np.where(np.arange(12) < count, 0.75, 0.95) for count in (1, 2))
    assert not CopyCheck(Closeness(np.ones(12), one), unseen).suspected
    assert CopyCheck(Closeness(np.ones(12), two), unseen).suspected


def test_a_copy_is_at_most_half_as_far_as_any_unseen_slice():
    unseen = Closeness(np.array([1.0, 2.0]), np.array([0.8, 1.0]))
    assert CopyCheck(Closeness(np.array([0.5, 0.51]), np.ones(2)), unseen).copies == 1
    assert CopyCheck(Closeness(np.ones(2), np.array([0.4, 0.41])), unseen).copies == 1


def test_a_slice_that_two_patients_share_has_a_ratio_of_one():
    same = everywhere(np.zeros((1, 1)))
    found, _ = nearest([same], everywhere(np.zeros((2, 1))), ["a", "b"])
    assert (found.distance[0], found.ratio[0]) == (0, 1)
