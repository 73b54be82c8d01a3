"""Checks that every training stage has to pass: who is trained by what, on one device, on two, and under XLA."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf.models.stage import Batch, StageModel
from mmsynth_tf.training import devices

Networks = Mapping[str, Sequence[tf.keras.Model]]


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Within it compiled functions run eagerly: at a tiny size tracing takes nearly all of the time.

    What tracing and the compilers can break is for the tests of ways to run, of faults and of whole programs.
    """
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def assert_terms_close(actual: Mapping[str, tf.Tensor], expected: Mapping[str, float], tolerance: float = 1e-5) -> None:
    """Compares term by term: absolute below 1, relative above."""
    assert set(actual) == set(expected)
    differing = {
        name: (float(actual[name]), value)
        for name, value in expected.items()
        if abs(float(actual[name]) - value) > tolerance * max(1.0, abs(value))
    }
    assert not differing, f"(computed, literal): {differing}"


def compile_with_sgd(model: StageModel, learning_rate: float = 0.01, **kwargs) -> StageModel:
    """Plain gradient descent: Adam would blow rounding errors up to whole steps."""
    optimizers = {name: tf.keras.optimizers.SGD(learning_rate) for name in model.groups}
    model.compile(optimizers, **{"jit_compile": False, **kwargs})
    return model


def variables_of(models: Iterable[tf.keras.Model]) -> list[tf.Variable]:
    return [variable for model in models for variable in model.trainable_variables]


def networks_reached(model: StageModel, batch: Batch, group: str, networks: Networks) -> dict[str, set[str]]:
    """For each term of a group, those of the group's networks that get a gradient other than zero."""
    own = {id(network) for network in model.groups[group].networks}
    candidates = {name: nets for name, nets in networks.items() if all(id(net) in own for net in nets)}
    assert sum(map(len, candidates.values())) == len(own)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.loss_terms(batch, model.forward(batch, training=True))
    reached = {}
    for term in model.groups[group].terms:
        reached[term] = set()
        # All at once: to go back through the step takes most of the time.
        gradients = iter(tape.gradient(terms[term], variables_of(n for nets in candidates.values() for n in nets)))
        for name, nets in candidates.items():
            own = itertools.islice(gradients, len(variables_of(nets)))
            if any(gradient is not None and np.any(gradient.numpy()) for gradient in list(own)):
                reached[term].add(name)
    return reached


def assert_no_idle_variable(model: StageModel, batch: Batch) -> None:
    """Every variable of every group gets a finite gradient other than zero from its group's terms."""
    with tf.GradientTape(persistent=True) as tape:
        terms = model.loss_terms(batch, model.forward(batch, training=True))
        totals = {name: tf.add_n([terms[t] for t in group.terms]) for name, group in model.groups.items()}
    for name, group in model.groups.items():
        for variable, gradient in zip(group.variables, tape.gradient(totals[name], group.variables), strict=True):
            assert gradient is not None, variable.name
            assert np.all(np.isfinite(gradient)), variable.name
            assert np.any(gradient.numpy()), f"{name}: {variable.name} of shape {variable.shape} is idle"


class StepProber:
    """Runs single training steps from the same start, each with its own choice of loss terms.

    The weights of the terms are variables, so that one traced step serves all choices. For a few steps tracing takes
    longer than it saves.
    """

    def __init__(self, model: StageModel, networks: Callable[[StageModel], Networks], traced: bool = False):
        self.model, self._networks = model, networks(model)
        self._weights = {name: tf.Variable(0.0) for name in model.terms}
        model.groups = {
            name: dataclasses.replace(group, weights={term: self._weights[term] for term in group.terms})
            for name, group in model.groups.items()
        }
        compile_with_sgd(model)
        self._step = tf.function(model.train_step, autograph=False) if traced else model.train_step
        self._start = {name: _values(nets) for name, nets in self._networks.items()}

    def moved_by(self, terms: Iterable[str], batch: Batch) -> set[str]:
        """The networks that a step moves when only `terms` have weight."""
        for name, weight in self._weights.items():
            weight.assign(1.0 if name in terms else 0.0)
        for name, nets in self._networks.items():
            for variable, value in zip(variables_of(nets), self._start[name], strict=True):
                variable.assign(value)
        self._step(batch)
        return {name for name, nets in self._networks.items() if _differ(_values(nets), self._start[name])}


def assert_steps_agree(build: Callable[[], StageModel], batches: Sequence[Batch]) -> None:
    """Steps under `jit_compile`, and on two logical CPUs at the same global batch, leave the weights of eager ones."""
    plain, compiled = build(), build()
    strategy = devices.strategy()
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        double = build()
        compile_with_sgd(double)
    compile_with_sgd(plain)
    compile_with_sgd(compiled, jit_compile=True)
    start = _weights(plain)
    with untraced():
        plain.fit(_dataset(batches), verbose=0)
    for model in (compiled, double):
        _set_weights(model, start)
        model.fit(_dataset(batches), verbose=0)
        _assert_same_move(model, plain, start)


def _dataset(batches: Sequence[Batch]) -> tf.data.Dataset:
    rows = {name: tf.concat([batch[name] for batch in batches], axis=0) for name in batches[0]}
    return tf.data.Dataset.from_tensor_slices(rows).batch(len(next(iter(batches[0].values()))), drop_remainder=True)


def _assert_same_move(actual: StageModel, expected: StageModel, start: list[np.ndarray]) -> None:
    """Both left the start by the same way.

    The measure is the length of the way: rounding grows with the gradients, and where an absolute value or
    a rectifier sits on its kink, one machine's rounding takes the other slope.
    """
    a, b, origin = (
        np.concatenate([w.ravel() for w in weights]) for weights in (_weights(actual), _weights(expected), start)
    )
    moved = np.linalg.norm(b - origin)
    assert moved > 0
    assert np.linalg.norm(a - b) < 1e-4 * moved


def _weights(model: StageModel) -> list[np.ndarray]:
    """Weights of the networks alone: a compiled model has its metrics' besides."""
    return [value for network in model.networks.values() for value in network.get_weights()]


def _set_weights(model: StageModel, values: Sequence[np.ndarray]) -> None:
    rest = list(values)
    for network in model.networks.values():
        count = len(network.weights)
        network.set_weights(rest[:count])
        rest = rest[count:]


def _values(networks: Sequence[tf.keras.Model]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables_of(networks)]


def _differ(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    return any(np.any(x != y) for x, y in zip(a, b, strict=True))
