"""What happens between training steps: moving average, logs, previews, checkpoints."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from mmsynth_tf import commands, records

LOSSES_FILE = "losses.csv"

_LOG = logging.getLogger(__name__)


class NonFiniteLossError(commands.UserError):
    """A loss term became infinite or NaN."""


class MovingAverage(tf.keras.callbacks.Callback):
    """Moves the averaged weights after each step.

    Args:
      update: called with the number of the step.
      start: the first step.
    """

    def __init__(self, update: Callable[[int], None], start: int):
        super().__init__()
        self._update, self._step = update, start

    def on_train_batch_end(self, batch, logs=None):
        self._update(self._step)
        self._step += 1


class Journal(tf.keras.callbacks.Callback):
    """At the end of each interval: checks the losses, logs them, draws a preview, saves a checkpoint.

    Args:
      folder: the stage's folder; gets losses.csv, tensorboard/ and previews/.
      start: the first step; later rows of an earlier run's log are dropped.
      steps: the last step.
      interval: steps between calls.
      slices_per_step: for the rate that is reported.
      draw: returns a preview, PNG.
      save: saves a checkpoint of a step; called last, so that a saved step is a logged step.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        interval: int,
        slices_per_step: int,
        draw: Callable[[], bytes],
        save: Callable[[int], None],
    ):
        super().__init__()
        self._folder, self._start, self._steps, self._interval = folder, start, steps, interval
        self._slices_per_step, self._draw, self._save = slices_per_step, draw, save
        self._rows = self._earlier_rows()
        self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def on_train_begin(self, logs=None):
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        step = (epoch + 1) * self._interval
        terms = {name: float(value) for name, value in logs.items() if not name.startswith("val_")}
        self._refuse_non_finite(step, terms)
        self._report(step, terms)
        self._rows.append({"step": step, **terms})
        records.write_csv(self._folder / LOSSES_FILE, self._rows)
        picture = self._draw()
        previews = self._folder / "previews"
        previews.mkdir(exist_ok=True)
        with records.atomic_path(previews / f"{step:07d}.png") as path:
            path.write_bytes(picture)
        with self._writer.as_default(step=step):
            for name, value in terms.items():
                tf.summary.scalar(name, value)
            tf.summary.image("preview", tf.image.decode_png(picture, channels=3)[None])
        self._writer.flush()
        self._save(step)

    def _earlier_rows(self) -> list[dict[str, float]]:
        path = self._folder / LOSSES_FILE
        if not (self._start and path.is_file()):
            return []
        columns = records.read_columns(path)
        rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
        return [{**row, "step": int(row["step"])} for row in rows if row["step"] <= self._start]

    def _refuse_non_finite(self, step: int, terms: dict[str, float]) -> None:
        broken = [name for name, value in terms.items() if not np.isfinite(value)]
        if broken:
            raise NonFiniteLossError(
                f"{', '.join(broken)} became non-finite between steps {step - self._interval} and {step}; the last "
                "good checkpoint is kept. Lower the learning rate or use --config.runtime.precision=float32."
            )

    def _report(self, step: int, terms: dict[str, float]) -> None:
        seconds = (time.monotonic() - self._began) / (step - self._start)
        left = int(seconds * max(0, self._steps - step))
        shown = "  ".join(f"{name} {value:.3g}" for name, value in terms.items())
        _LOG.info(
            "step %d/%d  %.1f slices/s  %d:%02d:%02d left  %s",
            *(step, self._steps, self._slices_per_step / seconds),
            *(left // 3600, left // 60 % 60, left % 60),
            shown,
        )
