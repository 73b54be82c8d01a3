"""Checkpoints of a run. The newest intact checkpoint is restored; damaged ones are skipped with a warning."""

import hashlib
import logging
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.errors import WorkDirError
from mmsynth_tf.storage import plain_paths

FOLDER = "checkpoints"  # In the folder of a run.

_INDEX = re.compile(r"ckpt-(\d+)\.index")
_FILE = re.compile(r"(ckpt-\d+)\.(index|data-\d+-of-\d+)")
_LOG = logging.getLogger(__name__)


def paths(run: Path) -> list[str]:
    """The checkpoints in a run's folder, newest first, by their files: TensorFlow's list of them may be behind."""
    files = (run / FOLDER).iterdir() if (run / FOLDER).is_dir() else ()
    steps = [int(match[1]) for file in files if (match := _INDEX.fullmatch(file.name))]
    return [str(run / FOLDER / f"ckpt-{step}") for step in sorted(steps, reverse=True)]


def newest(run: Path) -> str | None:
    """The newest intact checkpoint; None if no checkpoint was ever finished.

    Raises:
      WorkDirError: all checkpoints are damaged.
    """
    damaged = []
    for path in paths(run):
        reason = _damage(path)
        if reason is None:
            if damaged:
                _LOG.warning("%s; %s is used instead.", "; ".join(damaged), path)
            return path
        damaged.append(f"Checkpoint {path} is damaged ({reason})")
    # TensorFlow's list comes last: without one no checkpoint was ever finished, and nothing is lost.
    if damaged and (run / FOLDER / "checkpoint").is_file():
        raise WorkDirError(
            f"{run} cannot be restored: {'; '.join(damaged)}. Delete {run / FOLDER} to train from the start."
        )
    return None


def _damage(path: str) -> str | None:
    """The damage of a checkpoint's files; None if every value can be read and matches its checksum."""
    try:
        reader = tf.train.load_checkpoint(_readable(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _readable(path: str) -> str:
    """The path of a checkpoint for TensorFlow."""
    return str(plain_paths.plain(Path(path).parent) / Path(path).name)


class Checkpoints:
    """Saves and restores the state of a run.

    Args:
      run: the run's folder; checkpoints are restored from it.
      keep: number of checkpoints to keep.
      state: what a checkpoint holds, by name.
      num_terms: T, number of loss terms.
      output: where checkpoints are saved; `run` if not given.

    Attributes:
      sums: of the loss terms since the last row of the log, float64 [T]; for the log, to go on within an interval.
    """

    def __init__(self, run: Path, keep: int, state: Mapping[str, Any], num_terms: int, output: Path | None = None):
        self._run, self._output = run, (output or run) / FOLDER
        self.sums = tf.Variable(tf.zeros([num_terms], tf.float64), trainable=False, name="sums")
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._state = tf.train.Checkpoint(step=self._step, **state, sums=self.sums)
        self._manager = tf.train.CheckpointManager(self._state, str(plain_paths.plain(self._output)), max_to_keep=keep)

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._step.numpy())

    def restore(self) -> int:
        """Restores the newest whole checkpoint, if any; returns the step it was saved at.

        Raises:
          WorkDirError: all are damaged, or the one was made with another version or on another stack.
        """
        path = newest(self._run)
        if path:
            try:
                self._state.read(_readable(path)).assert_existing_objects_matched().expect_partial()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise WorkDirError(
                    f"Checkpoint {path} cannot be restored: it was written by another version of mmsynth_tf or "
                    f"Keras ({reason}). Use the Python that trained it, or train in another --workdir."
                ) from error
        return self.step

    def save(self, step: int) -> None:
        """Saves the state after `step` steps, and deletes older checkpoints beyond `keep`."""
        self._step.assign(step)
        self._output.mkdir(parents=True, exist_ok=True)  # TensorFlow does not make the target of a link.
        try:
            self._manager.save(checkpoint_number=step)
        finally:
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Removes partial files of processes that were killed, or ran out of disk space, while saving."""
        kept = {Path(path).name for path in self._manager.checkpoints}
        for path in self._output.glob("c*"):
            match = _FILE.fullmatch(path.name)
            if path.name.startswith(("ckpt-", "checkpoint.tmp")) and not (match and match[1] in kept):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def checkpoint_hashes(workdir: str | pathlib.Path, stages: Sequence[str] = constants.STAGES) -> dict[str, str]:
    """SHA-256 of the newest weights of those of the stages that are trained, by stage."""
    hashes = {}
    for stage in stages:
        path = newest(pathlib.Path(workdir) / stage)
        if path:
            digest = hashlib.sha256()
            for part in sorted(pathlib.Path(path).parent.glob(pathlib.Path(path).name + ".*")):
                digest.update(part.read_bytes())
            hashes[stage] = digest.hexdigest()
    return hashes
