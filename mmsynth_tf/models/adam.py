"""Adam with one operation for each variable."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from mmsynth_tf import compat, configs


class Adam(tf.keras.optimizers.Adam):
    """Keras' Adam with the same variables, in far fewer operations.

    Keras runs about twenty operations for each variable, half of them to recompute the same learning rate. On a GPU
    each operation is a kernel launch, and for small networks launches take longer than the computation. Each operation
    also has to be traced.

    Args:
      learning_rate: a number or a schedule.
      **kwargs: `beta_1`, `beta_2` and `epsilon`, as Keras'.
    """

    def __init__(self, learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule = 1e-3, **kwargs: Any):
        super().__init__(learning_rate, **kwargs, **compat.OPTIMIZER_OPTIONS)
        self._rate = None

    def apply(self, *args: Any, **kwargs: Any) -> None:
        """As Keras 3's."""
        with self._one_rate():
            super().apply(*args, **kwargs)

    def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """As Keras'."""
        with self._one_rate():
            return super().apply_gradients(*args, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor | None = None) -> None:
        """Updates one variable; Keras calls this, Keras 3 with the learning rate."""
        if self._rate is None:
            step = tf.cast(self.iterations, tf.float32) + 1.0
            corrections = tf.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
            self._rate = (self.learning_rate if learning_rate is None else learning_rate) * corrections
        first, second = compat.adam_moments(self, variable)
        tf.raw_ops.ResourceApplyAdam(
            var=compat.handle(variable),
            m=compat.handle(first),
            v=compat.handle(second),
            # The learning rate already contains the bias correction.
            beta1_power=0.0,
            beta2_power=0.0,
            lr=self._rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    @contextlib.contextmanager
    def _one_rate(self) -> Iterator[None]:
        """Caches the learning rate within one step and clears the cache after it."""
        self._rate = None
        try:
            yield
        finally:
            self._rate = None


def optimizers(
    rates: Mapping[str, float], beta_1: float, decay_steps: int, config: configs.Config
) -> dict[str, tf.keras.optimizers.Optimizer]:
    """One Adam for each group of a stage's model.

    Args:
      rates: learning rate of each group, at the start.
      beta_1: of Adam.
      decay_steps: steps over which the rates decay by half a cosine; 0 keeps them constant.
      config: gives the precision of training.
    """

    def optimizer(rate: float) -> tf.keras.optimizers.Optimizer:
        schedule = tf.keras.optimizers.schedules.CosineDecay(rate, decay_steps) if decay_steps else rate
        adam = Adam(schedule, beta_1=beta_1)
        return compat.LossScaleOptimizer(adam) if config.runtime.precision == "mixed_float16" else adam

    return {group: optimizer(rate) for group, rate in rates.items()}
