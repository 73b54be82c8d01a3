"""Fréchet distance against the formula with matrix square roots, and values derived by hand."""

import numpy as np
import pytest
from scipy import linalg
from sklearn import covariance as sklearn_covariance

from mmsynth_tf.metrics import frechet


def random_features(rng, count=50, dimensions=6):
    return rng.standard_normal((count, dimensions)) @ rng.standard_normal((dimensions, dimensions)) + rng.random()


def test_the_distance_equals_the_formula_with_matrix_square_roots(rng):
    a, b = (frechet.fit(random_features(rng)) for _ in range(2))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet.frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)


def test_independent_dimensions_add_up():
    a = frechet.Gaussian(np.array([0.0, 1.0]), np.diag([1.0, 4.0]))
    b = frechet.Gaussian(np.array([3.0, 1.0]), np.diag([9.0, 4.0]))
    # (0 - 3)² + (1 - 3)² in the first dimension, nothing in the second.
    assert frechet.frechet_distance(a, b) == pytest.approx(9 + 4)


@pytest.mark.parametrize("estimator", [frechet.SAMPLE_COVARIANCE, frechet.LEDOIT_WOLF])
@pytest.mark.parametrize("count", [4, 50])
def test_a_set_has_no_distance_to_itself(rng, estimator, count):
    gaussian = frechet.fit(random_features(rng, count), estimator)
    assert frechet.frechet_distance(gaussian, gaussian) == pytest.approx(0, abs=1e-6)


def test_the_sample_covariance_is_that_of_numpy(rng):
    features = random_features(rng)
    np.testing.assert_allclose(frechet.fit(features).covariance, np.cov(features, rowvar=False))


@pytest.mark.parametrize("count", [4, 50])
def test_the_shrunk_covariance_is_that_of_scikit_learn(rng, count):
    features = random_features(rng, count)
    expected, _ = sklearn_covariance.ledoit_wolf(features)
    np.testing.assert_allclose(frechet.fit(features, frechet.LEDOIT_WOLF).covariance, expected)


def test_no_more_vectors_than_dimensions_call_for_shrinkage_of_all():
    assert frechet.choose_estimator([100, 11], 10) == frechet.SAMPLE_COVARIANCE
    assert frechet.choose_estimator([100, 10], 10) == frechet.LEDOIT_WOLF


def test_a_single_vector_is_refused():
    with pytest.raises(ValueError, match="at least two vectors, got 1"):
        frechet.fit(np.zeros((1, 3)))


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="'robust'"):
        frechet.fit(np.zeros((5, 3)), "robust")
