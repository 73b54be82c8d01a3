"""The base class of all stages: a Keras model with groups of loss terms and one optimizer for each group."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from mmsynth_tf import compat
from mmsynth_tf.models import losses

Batch = Mapping[str, tf.Tensor]

# The group whose gradients are being computed. Replicas are traced in threads, each at its own place.
_differentiated = threading.local()


@dataclasses.dataclass(frozen=True)
class Group:
    """Networks that share an optimizer, and the weights of their loss terms."""

    networks: Sequence[tf.keras.Model]
    weights: Mapping[str, float]

    @property
    def terms(self) -> tuple[str, ...]:
        return tuple(self.weights)

    @property
    def variables(self) -> list[tf.Variable]:
        return [v for network in self.networks for v in network.trainable_variables]


class StageModel(tf.keras.Model):
    """A training stage. Subclasses set `groups` and compute `forward` and `formulas`.

    A term without a weight in the groups, or with weight 0 in the settings (see `weights_by_group`), is not computed.
    All random numbers are part of the batch, so a step depends on batch and weights
    alone: runs are reproducible, replicas agree, and tests can replay a step.
    """

    groups: Mapping[str, Group]
    frozen_networks: Sequence[tf.keras.Model] = ()  # Used and saved, but not trained.
    statistics: Sequence[tf.Variable] = ()  # Variables that training updates without gradients.
    in_pretraining = False  # In pretraining a stage may omit formulas; their terms are 0.

    @property
    def pretraining_steps(self) -> int:
        """Number of pretraining steps at the start of training."""
        return 0

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        """Runs all forward passes of a step; returns tensors under the method's names."""
        raise NotImplementedError

    def formulas(self, batch: Batch, tensors: Mapping[str, tf.Tensor]) -> dict[str, Callable[[], tf.Tensor]]:
        """Functions that compute the unweighted loss terms: float32 scalars, means over this replica's part of a batch.

        Functions of terms without a weight are not called, so `tensors` may lack their inputs.
        """
        raise NotImplementedError

    def loss_terms(self, batch: Batch, tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The unweighted loss terms of all groups, as float32 scalars."""
        formulas = self.formulas(batch, tensors)
        if self.in_pretraining:
            formulas = dict.fromkeys(self.terms, lambda: tf.zeros([])) | formulas
        return {term: formulas[term]() for term in self.terms}

    def compile(self, optimizers: Mapping[str, tf.keras.optimizers.Optimizer], **kwargs) -> None:
        """Sets one optimizer for each group.

        Raises:
          ValueError: `optimizers` does not name the groups.
        """
        if set(optimizers) != set(self.groups):
            raise ValueError(f"Optimizers {sorted(optimizers)} do not match the groups {sorted(self.groups)}.")
        super().compile(**kwargs)
        self.built = True  # Not needed for training, but Keras 2 requires it for `summary()`.
        self.optimizers = dict(optimizers)
        # Keras 3 needs the optimizers' variables to exist before a distributed step is traced.
        for name, group in self.groups.items():
            self.optimizers[name].build(group.variables)

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of all loss terms."""
        return tuple(term for group in self.groups.values() for term in group.terms)

    @property
    def networks(self) -> dict[str, tf.keras.Model]:
        """All networks by names that are the same in every run."""
        named = {f"{name}_{i}": net for name, group in self.groups.items() for i, net in enumerate(group.networks)}
        return named | {f"frozen_{i}": net for i, net in enumerate(self.frozen_networks)}

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            tensors = self.forward(batch, training=True)
            terms = self.loss_terms(batch, tensors)
            totals = {name: self._total(name, group, terms) for name, group in self.groups.items()}
        # All gradients are computed before any update, so every group uses the same weights.
        gradients = {
            name: gradients_of(tape, totals[name], group.variables, name, idle_allowed=self.in_pretraining)
            for name, group in self.groups.items()
        }
        for name, group in self.groups.items():
            compat.apply_scaled_gradients(self.optimizers[name], gradients[name], group.variables)
        return self._report({**terms, **self._gradient_norms(gradients)})

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        return self._report(self.loss_terms(batch, self.forward(batch, training=False)))

    def make_train_function(self, force: bool = False) -> Callable[[Iterator], dict[str, tf.Tensor]]:
        """The function that `fit` calls for each step; that of Keras 3 does not work on several machines."""
        strategy = self.distribute_strategy

        def compiled() -> Callable[[Iterator], dict[str, tf.Tensor]]:
            step = (
                tf.function(self.train_step, autograph=False, jit_compile=True) if self.jit_compile else self.train_step
            )

            # No code in this package needs autograph, which takes seconds.
            @tf.function(autograph=False)
            def train(batches: Iterator) -> dict[str, tf.Tensor]:
                values = strategy.run(step, args=(next(batches),))
                # They are the same on all replicas.
                return {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}

            return train

        by_phase = {phase: compiled() for phase in (True, False)}
        optimizer = next(iter(self.optimizers.values()))

        def train(batches: Iterator) -> dict[str, tf.Tensor]:
            self.in_pretraining = int(tf.convert_to_tensor(optimizer.iterations)) < self.pretraining_steps
            return by_phase[self.in_pretraining](batches)

        self.train_function = train
        return train

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        """Does nothing, as the model is built. Keras 3 would reduce a batch here, which fails on several machines."""

    def _total(self, name: str, group: Group, terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
        total = losses.weighted_sum(group.weights, terms)
        # Gradients are summed over replicas, each a mean over its own part of the batch.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return compat.scaled_loss(self.optimizers[name], total / replicas)

    def _gradient_norms(self, gradients: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, tf.Tensor]:
        """The norm of each group's gradient; none with loss scaling, where gradients sometimes overflow by design."""
        return {
            f"gradient of {name}": tf.linalg.global_norm(gradients[name])
            for name in self.groups
            if not isinstance(self.optimizers[name], compat.LossScaleOptimizer)
        }

    def _report(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scalars of this step, averaged over replicas in one reduction."""
        stacked = tf.stack([tf.cast(value, tf.float32) for value in values.values()])
        means = losses.across_replicas(tf.distribute.ReduceOp.MEAN, stacked)
        return dict(zip(values, tf.unstack(means), strict=True))


def gradients_of(
    tape: tf.GradientTape, total: tf.Tensor, variables: Sequence[tf.Variable], name: str, idle_allowed: bool = False
) -> list[tf.Tensor]:
    """Gradients of `total`.

    Args:
      tape: has recorded `total`.
      total: sum of the group's weighted terms.
      variables: variables of the group.
      name: name of the group.
      idle_allowed: gives variables that the loss does not reach the gradient 0.

    Raises:
      ValueError: the loss does not reach a variable, and `idle_allowed` is false.
    """
    with _differentiating(name):
        gradients = tape.gradient(total, variables)
    if idle_allowed:
        return [tf.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True)]
    inert = [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
    if inert:
        raise ValueError(
            f"The losses of group {name!r} do not reach {', '.join(inert)}. Terms of weight 0 are not computed."
        )
    return gradients


@contextlib.contextmanager
def _differentiating(group: str) -> Iterator[None]:
    _differentiated.group = group
    try:
        yield
    finally:
        del _differentiated.group


def with_gradient_for(group: str, tensor: tf.Tensor) -> tf.Tensor:
    """A tensor that networks of this group made, as input of networks of another group.

    A tape goes back from a loss through all computations, even if they hold no variable of the loss's group: the
    discriminator's gradients would run through the generator in vain. `gradients_of` stops here for other groups.

    Args:
      group: the group whose losses reach its networks through this tensor.
      tensor: any floating-point tensor.
    """

    @tf.custom_gradient
    def compute(x: tf.Tensor):
        return tf.identity(x), lambda upstream: upstream if _is_for(group) else None

    return compute(tensor)


def _is_for(group: str) -> bool:
    """Whether gradients of this group are being computed, or gradients of no group in particular."""
    return getattr(_differentiated, "group", group) == group
