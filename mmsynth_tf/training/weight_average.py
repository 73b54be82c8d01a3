"""The moving average of a model's weights, which sampling uses."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from mmsynth_tf.models.stage import StageModel


class WeightAverage:
    """Exponential moving average of the weights of a model's networks, but for discriminators."""

    def __init__(self, model: StageModel, decay: float):
        self.decay = decay
        sampled = [group for name, group in model.groups.items() if name != "discriminator"]
        self._variables = [variable for group in sampled for variable in group.variables]
        self.shadows = [tf.Variable(tf.convert_to_tensor(v), trainable=False) for v in self._variables] if decay else []
        self._update = tf.function(self._move, autograph=False)

    def update(self, step: int) -> None:
        """Moves the average towards the weights; the first steps weigh more, so that it forgets the start."""
        if self.decay:
            self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model's weights are the average."""
        trained = [tf.convert_to_tensor(v) for v in self._variables]
        self._assign(self.shadows)
        yield
        self._assign(trained)

    def install(self) -> None:
        """Makes the average the model's weights, for good."""
        self._assign(self.shadows)

    def _move(self, decay: tf.Tensor) -> None:
        for shadow, variable in zip(self.shadows, self._variables, strict=True):
            value = tf.convert_to_tensor(variable)
            shadow.assign(value + decay * (shadow - value))

    def _assign(self, values) -> None:
        if self.decay:
            for variable, value in zip(self._variables, values, strict=True):
                variable.assign(value)
