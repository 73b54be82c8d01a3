"""The weights with the smallest validation error of a training run."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


class BestWeights:
    """Copies a model's weights at the end of an interval if their validation error is the smallest so far.

    Args:
      variables: the weights.
      error: computes the validation error of the current weights.
      interval: steps between validations.

    Attributes:
      state: for checkpoints, so that an interrupted run can resume.
    """

    def __init__(self, variables: Sequence[tf.Variable], error: Callable[[], float], interval: int):
        self._variables, self._error, self._interval = list(variables), error, interval
        self._copies = [tf.Variable(tf.convert_to_tensor(v), trainable=False) for v in self._variables]
        self._smallest = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
        self._step = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.state = {"copies": self._copies, "smallest": self._smallest, "step": self._step}

    @property
    def step(self) -> int:
        """Number of steps after which the copied weights were reached; 0 before the first validation."""
        return int(self._step.numpy())

    def update(self, step: int) -> None:
        """Validates at the end of an interval. Call it after each step with the step's number, counted from 0."""
        if (step + 1) % self._interval:
            return
        error = self._error()
        if error < self._smallest.numpy():
            self._smallest.assign(error)
            self._step.assign(step + 1)
            self._assign(self._copies, self._variables)

    def install(self) -> None:
        """Restores the copied weights in the model."""
        self._assign(self._variables, self._copies)

    @staticmethod
    def _assign(targets: Sequence[tf.Variable], values: Sequence[tf.Variable]) -> None:
        for target, value in zip(targets, values, strict=True):
            target.assign(tf.convert_to_tensor(value))
