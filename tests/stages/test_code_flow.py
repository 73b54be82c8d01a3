"""The normalising flow of structure codes."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.stages.structure.code_flow import CodeFlow


def build(latent_dim, moved=True):
    flow = CodeFlow(latent_dim, couplings=3, condition_size=2, units=8)
    if moved:
        for index, variable in enumerate(flow.trainable_variables):
            variable.assign_add(0.3 * tf.random.stateless_normal(variable.shape, [index, 1]))
    return flow


@pytest.mark.parametrize("latent_dim", [2, 5, 8])
def test_inverse_undoes_the_flow_under_the_same_condition(rng, latent_dim):
    flow, code = build(latent_dim), tf.constant(rng.standard_normal((7, latent_dim)), tf.float32)
    condition = tf.constant(rng.standard_normal((7, 2)), tf.float32)
    noise, _ = flow(code, condition)
    assert np.abs(noise - code).max() > 0.1
    np.testing.assert_allclose(flow.inverse(noise, condition), code, atol=1e-4)
    assert np.abs(flow.inverse(noise, condition + 1.0) - code).max() > 0.1


def test_log_determinant_is_that_of_the_derivative(rng):
    flow, code = build(5), tf.constant(rng.standard_normal((3, 5)), tf.float32)
    condition = tf.constant(rng.standard_normal((3, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(code)
        noise, log_determinant = flow(code, condition)
    jacobian = tape.batch_jacobian(noise, code).numpy()
    np.testing.assert_allclose(log_determinant, np.log(np.abs(np.linalg.det(jacobian))), atol=1e-4)


def test_untrained_it_is_a_standard_normal(rng):
    code = rng.standard_normal((50, 4)).astype(np.float32)
    expected = np.mean(0.5 * code**2) + 0.5 * np.log(2 * np.pi)
    negative_log_likelihood = build(4, moved=False).negative_log_likelihood(tf.constant(code), tf.ones([50, 2]))
    np.testing.assert_allclose(negative_log_likelihood, expected, rtol=1e-5)


def test_it_learns_what_a_normal_distribution_cannot(rng):
    """Codes on a ring: a normal distribution with their moments puts a third of its mass inside."""
    flow, optimizer = CodeFlow(2, couplings=6, units=32), tf.keras.optimizers.Adam(5e-3)
    angle = rng.uniform(0, 2 * np.pi, 4000)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.normal(1.4, 0.05, (4000, 1))

    @tf.function
    def step(codes):
        with tf.GradientTape() as tape:
            loss = flow.negative_log_likelihood(codes, tf.zeros([128, 0]))
        gradients = tape.gradient(loss, flow.trainable_variables)
        optimizer.apply_gradients(zip(gradients, flow.trainable_variables, strict=True))

    for _ in range(400):
        step(tf.constant(ring[rng.integers(4000, size=128)], tf.float32))
    noise = rng.standard_normal((2000, 2)).astype(np.float32)
    radius = np.linalg.norm(flow.inverse(tf.constant(noise), tf.zeros([2000, 0])).numpy(), axis=1)
    assert np.mean(np.linalg.norm(noise, axis=1) < 0.9) > 0.3
    assert np.mean(radius < 0.9) < 0.12
