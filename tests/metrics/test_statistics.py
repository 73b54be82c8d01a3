"""Paired statistics against values that follow by hand."""

import numpy as np
import pytest

from mmsynth_tf.metrics import statistics


def test_an_estimate_leaves_nan_out_and_covers_the_mean():
    values = statistics.estimate(np.array([0.0, 1.0, np.nan, 5.0]))
    assert (values.mean, values.median, values.count) == (2.0, 1.0, 3)
    # All draws of the smallest, or the largest, have probability 1/27 each: more than 2.5 %.
    assert (values.low, values.high) == (0.0, 5.0)


def test_the_interval_of_many_values_is_that_of_the_normal_law(rng):
    values = rng.normal(size=400)
    found = statistics.estimate(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_no_values_give_nan():
    found = statistics.estimate(np.array([np.nan]))
    assert found.count == 0 and np.isnan([found.mean, found.low, found.high, found.median]).all()


def test_wilcoxon_of_five_gains_is_two_of_the_32_signs():
    assert statistics.wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, np.nan, 0.5])) == pytest.approx(2 / 32)


def test_wilcoxon_is_symmetric_and_1_without_differences(rng):
    differences = rng.normal(0.3, 1, 17)
    assert statistics.wilcoxon_p(differences) == pytest.approx(statistics.wilcoxon_p(-differences))
    assert statistics.wilcoxon_p(np.zeros(4)) == 1.0


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    # Sorted 0.01, 0.02, 0.03, 0.9 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.9; the third is not below the second.
    assert statistics.holm([0.02, 0.9, 0.01, 0.03]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []
