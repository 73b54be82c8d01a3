"""Callbacks between training steps: loss check, moving average, logs, previews and checkpoints."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from mmsynth_tf.errors import Interrupted, UserError
from mmsynth_tf.models import stage
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training.stopping import Deferral

LOSSES_FILE = "losses.csv"
_PREVIEWS = "previews"
_TENSORBOARD = "tensorboard"

_LOG = logging.getLogger(__name__)

Terms = Mapping[str, float]


class NonFiniteLossError(UserError):
    """A loss term or a gradient became infinite or NaN."""


class AfterStep(tf.keras.callbacks.Callback):
    """Counts steps independently of Keras' epochs. Subclasses define `after_step`.

    Args:
      start: number of earlier steps.
    """

    def __init__(self, start: int):
        super().__init__()
        self._done = start

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        self.after_step(self._done, {name: float(value) for name, value in logs.items()})

    def after_step(self, step: int, values: Terms) -> None:
        """Called after `step` steps, with the values that the last step reported."""
        raise NotImplementedError


class FiniteGuard(AfterStep):
    """Stops at the first step with a non-finite loss term or gradient, and saves the data to reproduce it.

    Args:
      start: number of earlier steps.
      folder: the run's folder; receives non_finite/step_<number>.npz.
      batch_of: returns the batch of a step, counted from 0.
    """

    def __init__(self, start: int, folder: Path, batch_of: Callable[[int], stage.Batch]):
        super().__init__(start)
        self._folder, self._batch_of = folder, batch_of

    def after_step(self, step: int, values: Terms) -> None:
        broken = sorted(name for name, value in values.items() if not np.isfinite(value))
        if not broken:
            return
        path = self._folder / "non_finite" / f"step_{step:07d}.npz"
        path.parent.mkdir(exist_ok=True)
        arrays = {f"value_{name}": np.float32(value) for name, value in values.items()}
        # Batches depend only on the step, so this one can be drawn again.
        arrays |= {f"batch_{name}": np.asarray(value) for name, value in self._batch_of(step - 1).items()}
        with atomic.atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        raise NonFiniteLossError(
            f"{', '.join(broken)} became non-finite in step {step}. Its batch and values are in {path}; the last good "
            "checkpoint is kept. Lower the learning rate, use --config.runtime.precision=float32, or find the "
            "operation with --detect_anomaly."
        )


class MovingAverage(AfterStep):
    """Updates the moving average of the weights after each step.

    Args:
      start: number of earlier steps.
      update: called with the number of the step, counted from 0.
    """

    def __init__(self, start: int, update: Callable[[int], None]):
        super().__init__(start)
        self._update = update

    def after_step(self, step: int, values: Terms) -> None:
        self._update(step - 1)


class Journal(AfterStep):
    """Logs the mean losses and draws a preview at the end of each interval and of the run.

    All output is on disk before the checkpoint is saved. A resumed run drops the rows and previews that a killed run
    logged after its last checkpoint, so each exists only once.

    Args:
      start: number of earlier steps.
      folder: the run's folder; receives losses.csv, tensorboard/ and previews/.
      steps: the last step.
      interval: steps between rows.
      slices_per_step: number of slices, for the reported rate.
      draw: returns a preview, PNG.
      names: names of the loss terms.
      sums: sums of the terms since the last row, float64 [T]; part of the checkpoint.
    """

    def __init__(
        self,
        start: int,
        folder: Path,
        *,
        steps: int,
        interval: int,
        slices_per_step: int,
        draw: Callable[[], bytes],
        names: Sequence[str],
        sums: tf.Variable,
    ):
        super().__init__(start)
        self._folder, self._start, self._steps, self._interval = folder, start, steps, interval
        self._slices_per_step, self._draw, self._names, self._sums = slices_per_step, draw, names, sums
        self._rows = self._earlier_rows()
        self._writer = self._new_writer()
        for row in self._rows:
            self._write_tensorboard(row)

    def on_train_begin(self, logs=None):
        self._began = time.monotonic()

    def after_step(self, step: int, values: Terms) -> None:
        self._sums.assign_add([values[name] for name in self._names])
        if step % self._interval == 0 or step == self._steps:
            means = self._sums.numpy() / (step - (self._rows[-1]["step"] if self._rows else 0))
            self._sums.assign(tf.zeros_like(self._sums))
            self._write(step, dict(zip(self._names, means.tolist(), strict=True)))

    def _write(self, step: int, terms: Terms) -> None:
        self._report(step, terms)
        self._rows.append({"step": step, **terms})
        records.write_csv(self._folder / LOSSES_FILE, self._rows)
        picture = self._preview(step)
        picture.parent.mkdir(exist_ok=True)
        with atomic.atomic_path(picture) as path:
            path.write_bytes(self._draw())
        self._write_tensorboard(self._rows[-1])
        self._writer.flush()

    def _preview(self, step: int) -> Path:
        return self._folder / _PREVIEWS / f"{step:07d}.png"

    def _earlier_rows(self) -> list[dict[str, float]]:
        path = self._folder / LOSSES_FILE
        if not (self._start and path.is_file()):
            return []
        columns = records.read_columns(path)
        rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
        return [{**row, "step": int(row["step"])} for row in rows if row["step"] <= self._start]

    def _new_writer(self) -> tf.summary.SummaryWriter:
        """Opens a new event file and deletes those of earlier processes: TensorBoard cannot drop single events."""
        for stale in (self._folder / _TENSORBOARD).glob("events.out.tfevents.*"):
            stale.unlink()
        return tf.summary.create_file_writer(str(self._folder / _TENSORBOARD))

    def _write_tensorboard(self, row: Mapping[str, float]) -> None:
        with self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                if name != "step":
                    tf.summary.scalar(name, value)
            picture = self._preview(row["step"])
            if picture.is_file():
                tf.summary.image("preview", tf.image.decode_png(picture.read_bytes(), channels=3)[None])

    def _report(self, step: int, terms: Terms) -> None:
        seconds = (time.monotonic() - self._began) / (step - self._start)
        left = int(seconds * max(0, self._steps - step))
        shown = "  ".join(f"{name} {value:.3g}" for name, value in terms.items())
        _LOG.info(
            "step %d/%d  %.1f slices/s  %d:%02d:%02d left  %s",
            *(step, self._steps, self._slices_per_step / seconds),
            *(left // 3600, left // 60 % 60, left % 60),
            shown,
        )


class Saver(AfterStep):
    """Saves a checkpoint after each interval, at the end of the run and on a stop signal. It must be the last callback.

    Args:
      start: number of earlier steps.
      steps: the last step.
      interval: steps between checkpoints.
      save: called with the number of steps done.
      deferral: holds signals that arrive within a step.

    Raises:
      Interrupted: the process received a stop signal; the checkpoint is saved.
    """

    def __init__(self, start: int, steps: int, interval: int, save: Callable[[int], None], deferral: Deferral):
        super().__init__(start)
        self._steps, self._interval, self._save, self._deferral = steps, interval, save, deferral

    def after_step(self, step: int, values: Terms) -> None:
        self._deferral.armed = True
        if step % self._interval == 0 or step == self._steps or self._deferral.requested:
            self._save(step)
        if self._deferral.requested:
            raise Interrupted(self._deferral.requested, f" after step {step}, which is saved")
