"""The stage model on the smallest example: two single-weight networks with an optimizer each."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.models.stage import gradients_of, with_gradient_for
from tests.fakes import training_checks
from tests.fakes.two_scales import TwoScales

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


def test_a_step_reports_its_own_terms_and_the_norms_of_its_gradients():
    model = training_checks.compile_with_sgd(TwoScales(), learning_rate=0.0)
    model.train_step({"x": tf.constant([[1.0]])})
    reported = {name: float(value) for name, value in model.train_step(BATCH).items()}
    # Mean x = 2; d/da (b a x) = 6 and d/db of half of it = 2.
    expected = {"fit": 12.0, "pull": 12.0, "gradient of first": 6.0, "gradient of second": 2.0}
    assert reported == pytest.approx(expected)


def test_a_compiled_stage_prints_its_summary():
    lines = []
    training_checks.compile_with_sgd(TwoScales()).summary(print_fn=lambda line, **options: lines.append(line))
    assert "Total params" in "".join(lines)


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


@pytest.mark.parametrize("run", [lambda f: f(), lambda f: tf.function(f, autograph=False)()], ids=["eager", "traced"])
def test_gradients_do_not_go_back_in_vain_through_what_another_group_made(run):
    made_by, judged_by = tf.Variable(3.0), tf.Variable(5.0)
    walks = []

    @tf.custom_gradient
    def doubled(x):
        return 2.0 * x, lambda upstream: (walks.append(1), 2.0 * upstream)[1]

    def step():
        with tf.GradientTape(persistent=True) as tape:
            total = judged_by * with_gradient_for("generator", doubled(tf.convert_to_tensor(made_by)))
        counts, gradients = [], []
        for group, variable in (("discriminator", judged_by), ("generator", made_by)):
            gradients += gradients_of(tape, total, [variable], group)
            counts.append(len(walks))
        # Of no group in particular: all of it.
        return counts, [*gradients, tape.gradient(total, made_by)]

    counts, gradients = run(step)
    assert [int(count) for count in counts] == [0, 1]
    assert [float(gradient) for gradient in gradients] == [6.0, 10.0, 10.0]


class Lacking(TwoScales):
    """Lacks what one of its terms is computed from."""

    def formulas(self, batch, tensors):
        return {**super().formulas(batch, tensors), "lacking": lambda: tensors["nowhere"]}


def test_a_term_without_a_weight_is_not_computed():
    assert set(Lacking().loss_terms(BATCH, {"z": tf.constant(2.0)})) == {"fit", "pull"}


def test_a_term_with_a_weight_and_no_formula_is_an_error_but_in_pretraining_is_0():
    model = TwoScales()
    model.groups["second"] = dataclasses.replace(model.groups["second"], weights={"pull": 0.5, "further": 1.0})
    with pytest.raises(KeyError, match="further"):
        model.loss_terms(BATCH, {"z": tf.constant(2.0)})
    model.in_pretraining = True
    terms = model.loss_terms(BATCH, {"z": tf.constant(2.0)})
    assert {name: float(term) for name, term in terms.items()} == {"fit": 2.0, "pull": 2.0, "further": 0.0}


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
