"""The Keras model that all stages are: loss terms in groups, one optimizer a group."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from mmsynth_tf import compat
from mmsynth_tf.models import losses

Batch = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Group:
    """Networks that one optimizer trains, and the weights of the loss terms that train them."""

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
    Everything random is part of the batch, so a step is a function of batch and
    weights alone: runs repeat, replicas agree, and tests can replay a step.
    """

    groups: Mapping[str, Group]
    frozen_networks: Sequence[tf.keras.Model] = ()  # Used, and saved, but not trained.
    statistics: Sequence[tf.Variable] = ()  # Variables that training moves without gradients.
    in_pretraining = False  # In it a stage may leave out formulas; their terms are 0.

    @property
    def pretraining_steps(self) -> int:
        """Steps at the start that are spent in pretraining."""
        return 0

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        """All forward passes of a step, by the method's names."""
        raise NotImplementedError

    def formulas(self, batch: Batch, tensors: Mapping[str, tf.Tensor]) -> dict[str, Callable[[], tf.Tensor]]:
        """How each unweighted loss term is computed: a float32 scalar, the mean over this replica's part of the batch.

        Those of terms that have no weight are not called, so what they need may be lacking in `tensors`.
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
        self.built = True  # Training does not need it, but Keras 2 prints no `summary()` without it.
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
        """All networks, under names that do not change between runs."""
        named = {f"{name}_{i}": net for name, group in self.groups.items() for i, net in enumerate(group.networks)}
        return named | {f"frozen_{i}": net for i, net in enumerate(self.frozen_networks)}

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            tensors = self.forward(batch, training=True)
            terms = self.loss_terms(batch, tensors)
            totals = {name: self._total(name, group, terms) for name, group in self.groups.items()}
        # All gradients are taken before any update: every group sees the same weights.
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
        """The function that `fit` calls for each step. Keras 3 has none that works on several machines."""
        strategy = self.distribute_strategy

        def compiled() -> Callable[[Iterator], dict[str, tf.Tensor]]:
            step = (
                tf.function(self.train_step, autograph=False, jit_compile=True) if self.jit_compile else self.train_step
            )

            # Nothing here, or anywhere in this package, needs autograph, which takes seconds.
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
        """Keras 3 would draw a batch for this and average it, which fails on several machines; the model is built."""

    def _total(self, name: str, group: Group, terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
        total = losses.weighted_sum(group.weights, terms)
        # Gradients are summed over replicas, each a mean over its own part of the batch.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return compat.scaled_loss(self.optimizers[name], total / replicas)

    def _gradient_norms(self, gradients: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, tf.Tensor]:
        """The norm of each group's gradient, but for scaled losses: their gradients overflow now and then by design."""
        return {
            f"gradient of {name}": tf.linalg.global_norm(gradients[name])
            for name in self.groups
            if not isinstance(self.optimizers[name], compat.LossScaleOptimizer)
        }

    def _report(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scalars of this step, as means over replicas, in one reduction."""
        stacked = tf.stack([tf.cast(value, tf.float32) for value in values.values()])
        means = losses.across_replicas(tf.distribute.ReduceOp.MEAN, stacked)
        return dict(zip(values, tf.unstack(means), strict=True))


def gradients_of(
    tape: tf.GradientTape, total: tf.Tensor, variables: Sequence[tf.Variable], name: str, idle_allowed: bool = False
) -> list[tf.Tensor]:
    """Gradients of `total`.

    Args:
      tape: has seen it.
      total: of the group's weighted terms.
      variables: the group's.
      name: the group.
      idle_allowed: variables that the loss does not reach have gradient 0.

    Raises:
      ValueError: otherwise such a variable is a mistake in the model.
    """
    gradients = tape.gradient(total, variables)
    if idle_allowed:
        return [tf.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True)]
    inert = [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
    if inert:
        raise ValueError(
            f"The losses of group {name!r} do not reach {', '.join(inert)}. Terms of weight 0 are not computed."
        )
    return gradients
