"""The training loop of all stages: it runs from the newest checkpoint to the last step, and can be interrupted."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.training import callbacks, devices, stopping
from mmsynth_tf.training.checkpoints import Checkpoints

# Given a step, the batches from that step on.
Batches = Callable[[int], tf.data.Dataset]


def fit(
    model: StageModel,
    batches: Batches,
    checkpoints: Checkpoints,
    folder: Path,
    *,
    steps: int,
    interval: int,
    slices_per_step: int,
    draw: Callable[[], bytes],
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Trains from the restored step to the last one.

    Args:
      model: compiled.
      batches: the training data.
      checkpoints: restored.
      folder: the run's; receives the log, the previews and, if a loss is not finite, the step's batch and weights.
      steps: the last step.
      interval: steps between rows of the log, previews and checkpoints; the last step has them as well.
      slices_per_step: for the rate that is reported.
      draw: returns a preview, PNG.
      after_step: called after each step with its number, counted from 0.

    Raises:
      NonFiniteLossError: a loss term or gradient is not finite.
      Interrupted: the process was told to stop; the steps done are saved.
    """
    start = checkpoints.step
    with stopping.deferred() as deferral:
        # One epoch for Keras: a run may go on at any step, and intervals are counted by the callbacks.
        model.fit(
            devices.own_rows(batches(start)),
            steps_per_epoch=steps - start,
            shuffle=False,
            verbose=0,
            callbacks=[
                callbacks.FiniteGuard(start, folder, lambda step: next(iter(batches(step)))),
                callbacks.MovingAverage(start, after_step),
                callbacks.Journal(
                    start,
                    folder,
                    steps=steps,
                    interval=interval,
                    slices_per_step=slices_per_step,
                    draw=draw,
                    names=model.terms,
                    sums=checkpoints.sums,
                ),
                callbacks.Saver(start, steps, interval, checkpoints.save, deferral),
            ],
        )
