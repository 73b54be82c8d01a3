"""Writes a prepared data set atomically."""

import contextlib
import dataclasses
import datetime
import errno
import io
import json
import logging as std_logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds
from absl import logging

from mmsynth_tf import __version__, constants
from mmsynth_tf.configs import DataConfig

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def data_set_record(
    data: DataConfig,
    source: str,
    release: str,
    split: Mapping[str, Sequence[str]],
    patients: Mapping[str, str],
    **extra: Any,
) -> dict[str, Any]:
    """The content of data_set.json; `patients` maps case ids to patient ids."""
    return {
        "data": dataclasses.asdict(data),
        "source": source,
        "release": release,
        "split": {name: list(cases) for name, cases in split.items()},
        "patients": dict(patients),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
    } | extra


def write_data_set(
    make_builder: Callable[[Path], tfds.core.DatasetBuilder],
    folder: Path,
    record: Callable[[], Mapping[str, Any]],
    beam_options: "PipelineOptions | None" = None,
) -> None:
    """Runs a builder and puts its data set and the record directly into an existing folder.

    Args:
      make_builder: makes a builder for the given data directory.
      folder: receives the files of the data set; use `atomic.new_folder`.
      record: returns the content of data_set.json; called after the data has been written.
      beam_options: for builders that run on Apache Beam.

    Raises:
      OSError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix=".tfds-", dir=folder) as data_dir:
        with _quiet_tfds(), _full_disk_as_os_error(folder):
            builder = make_builder(Path(data_dir))
            builder.download_and_prepare(
                download_dir=os.path.join(data_dir, "downloads"),
                download_config=tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options),
                file_format=tfds.core.FileFormat.TFRECORD,
            )
        for path in Path(builder.data_dir).iterdir():
            path.rename(folder / path.name)
    (folder / constants.DATA_SET_RECORD).write_text(json.dumps(record(), indent=2), encoding="utf-8")


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Silences TFDS messages about the temporary folder; the builders have their own progress bar."""
    logger = logging.get_absl_logger()  # Not by its level, which would also silence the warnings about cases.
    logger.addFilter(_is_error)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.removeFilter(_is_error)


def _is_error(record: std_logging.LogRecord) -> bool:
    return record.levelno >= std_logging.ERROR


@contextlib.contextmanager
def _full_disk_as_os_error(folder: Path) -> Iterator[None]:
    """Raises OSError for a full disk, which TFDS reports as a TensorFlow error within a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent)) from error


def require_space(folder: Path, num_bytes: int) -> None:
    """Refuses a data set that does not fit on the disk.

    Raises:
      OSError: the file system of the folder has less than `num_bytes` free.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        text = f"the data set needs about {num_bytes / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free"
        raise OSError(errno.ENOSPC, text, str(folder.parent))
