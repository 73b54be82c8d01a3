"""Training on several machines: each runs the same command, and TF_CONFIG lists all machines.

All machines need access to the work directory, but only the chief writes to it. The others write to temporary folders,
so that every machine executes the same steps.
"""

import contextlib
import functools
import json
import logging
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import tensorflow as tf

from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import locks
from mmsynth_tf.training import memory

_VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
_LOG = logging.getLogger(__name__)


def several_machines() -> tf.distribute.MultiWorkerMirroredStrategy | None:
    """A strategy over the machines of TF_CONFIG, when all have been started; None without it.

    Raises:
      UserError: TF_CONFIG cannot be read.
    """
    text = os.environ.get(_VARIABLE)
    if not text:
        return None
    try:
        tree = json.loads(text)
        machines, task = [name for part in tree["cluster"].values() for name in part], tree["task"]
        _LOG.info("%s %d of %d machines; waiting for all.", task["type"], task["index"], len(machines))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{_VARIABLE} is {text!r} ({error!r}). It should look like {_EXAMPLE}.") from error
    return tf.distribute.MultiWorkerMirroredStrategy()


@contextlib.contextmanager
def output_folder(folder: pathlib.Path, distribution: tf.distribute.Strategy) -> Iterator[pathlib.Path]:
    """The folder for this machine's output: the run's folder, locked, on the chief; a temporary one elsewhere.

    Raises:
      LockedError: another process writes there.
    """
    if distribution.extended.should_checkpoint:
        with locks.holding(folder):
            yield folder
    else:
        with tempfile.TemporaryDirectory() as own:
            yield pathlib.Path(own)


def own_rows(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Shards global batches by rows, so that each machine of a strategy takes part of every batch.

    By default TensorFlow shards by files, so that batches would differ from those of a single machine.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """Over the machines of TF_CONFIG; without it over the visible GPUs, or else the logical CPUs.

    A second one over the same devices would count its collective operations from the start again, and
    TensorFlow 2.15 would take them for those of the first. One device needs none: on a GPU, steps that XLA compiles
    fail under it.
    """
    distributed = several_machines()
    if distributed:
        return distributed
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def training_device() -> memory.Device:
    """The smallest visible GPU, or else the CPU, with the memory that is free."""
    if tf.config.list_physical_devices("GPU"):
        return memory.Device(True, _gpu_gib())
    return memory.Device(False, memory.available_gib())


def _gpu_gib() -> float | None:
    """Memory of the smallest NVIDIA GPU, GiB; None where it cannot be asked for."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        return min(int(line) for line in shown.split()) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
