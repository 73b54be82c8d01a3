"""The stage model on the smallest example: two single-weight networks with an optimizer each."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.stage import Group, StageModel, gradients_of
from tests import training_checks


@dataclasses.dataclass(frozen=True)
class Weights:
    fit: float = 1.0
    pull: float = 0.5


def scale(factor: float) -> tf.keras.Model:
    """x to factor · x."""
    initializer = tf.keras.initializers.Constant(factor)
    return tf.keras.Sequential(
        [tf.keras.Input((1,)), tf.keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer)]
    )


class TwoScales(StageModel):
    """y = a x and z = b y. The first group trains a on y² and z, the second b on z."""

    def __init__(self):
        super().__init__()
        self.first, self.second = scale(2.0), scale(3.0)
        self.term_weights = Weights()
        self.groups = {"first": Group((self.first,), ("fit",)), "second": Group((self.second,), ("pull",))}

    def forward(self, batch, training):
        y = self.first(batch["x"], training=training)
        return {"y": y, "z": self.second(y, training=training)}

    def loss_terms(self, batch, tensors):
        mean = tf.reduce_mean(tf.cast(tensors["z"], tf.float32))
        return {"fit": mean, "pull": mean}

    @property
    def values(self) -> tuple[float, float]:
        return tuple(float(network.trainable_variables[0][0, 0]) for network in (self.first, self.second))


BATCH = {"x": tf.constant([[1.0], [3.0]])}


def test_a_step_updates_each_group_from_the_weights_before_the_step():
    model = training_checks.compile_with_sgd(TwoScales(), learning_rate=0.1)
    model.train_step(BATCH)
    # Mean x = 2. d/da (b a x) = 3 * 2 = 6; d/db of half that = 0.5 * 2 * 2 = 2, with a = 2 as it was.
    np.testing.assert_allclose(model.values, (2.0 - 0.1 * 6.0, 3.0 - 0.1 * 2.0), rtol=1e-6)


def test_steps_report_unweighted_terms_and_testing_trains_nothing():
    model = training_checks.compile_with_sgd(TwoScales())
    reported = model.evaluate(tf.data.Dataset.from_tensors(BATCH), verbose=0, return_dict=True)
    assert reported["fit"] == pytest.approx(12.0) and reported["pull"] == pytest.approx(12.0)
    assert model.values == (2.0, 3.0)


def test_epochs_start_their_averages_anew():
    model = training_checks.compile_with_sgd(TwoScales(), learning_rate=0.0)
    first = {"x": tf.constant([[1.0]])}
    model.evaluate(tf.data.Dataset.from_tensors(first), verbose=0)
    reported = model.evaluate(tf.data.Dataset.from_tensors(BATCH), verbose=0, return_dict=True)
    assert reported["fit"] == pytest.approx(12.0)


@pytest.mark.parametrize("names", [("first",), ("first", "second", "third")])
def test_optimizers_must_match_the_groups(names):
    with pytest.raises(ValueError, match=r"do not match the groups \['first', 'second'\]"):
        TwoScales().compile({name: tf.keras.optimizers.SGD() for name in names})


def test_a_variable_that_no_loss_reaches_is_an_error_that_names_it():
    reached, inert = tf.Variable(1.0, name="reached"), tf.Variable(1.0, name="inert")
    with tf.GradientTape() as tape:
        total = 2.0 * reached
    with pytest.raises(ValueError, match=r"group 'some' do not reach inert"):
        gradients_of(tape, total, [reached, inert], "some")


def test_networks_have_stable_names():
    model = TwoScales()
    assert model.networks == {"first_0": model.first, "second_0": model.second}


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_reduced_precision_trains(precision):
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        model = TwoScales()
        optimizers = {name: tf.keras.optimizers.SGD(0.1) for name in model.groups}
        if precision == "mixed_float16":
            # The usual first scale, 2^15, overflows on inputs this large, and the step would be skipped.
            scaling = tf.keras.mixed_precision.LossScaleOptimizer
            optimizers = {name: scaling(inner, initial_scale=16.0) for name, inner in optimizers.items()}
        model.compile(optimizers, jit_compile=False)
        model.train_step(BATCH)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(model.values, (1.4, 2.8), rtol=1e-2)
