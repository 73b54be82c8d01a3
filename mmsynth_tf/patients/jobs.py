"""Runs a job for many cases: each gets a folder, written completely or not at all; errors are raised at the end."""

import datetime
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tqdm

from mmsynth_tf import __version__, constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.storage import atomic

_log = logging.getLogger(__name__)

# Describes the job, beside the images; its presence shows that this package wrote the folder.
RECORD_FILE = "mmsynth.json"

# Time between two lines of progress where the output is no terminal, s: short enough for an impatient reader, and
# a log of an hour keeps below 400 lines.
_INTERVAL = 10.0

Record = dict[str, Any]
Job = Callable[[CaseFiles, Path], Record]
T = TypeVar("T")


def for_each(cases: Sequence[CaseFiles], output: Path, job: Job, overwrite: bool = False, resume: bool = False) -> None:
    """Runs a job for every case; a failed case does not stop the others.

    Args:
      cases: the cases.
      output: folder that receives one folder per case.
      job: writes the files of a case into a folder and returns its record.
      overwrite: replace existing case folders.
      resume: skip cases whose folders exist.

    Raises:
      UserError: case folders exist, and neither `overwrite` nor `resume` is set; or cases failed.
    """
    done = [case for case in cases if (output / case.case_id).exists()]
    if resume:
        cases = [case for case in cases if case not in done]
    elif done and not overwrite:
        raise UserError(
            f"{output} already holds {len(done)} of the {len(cases)} cases ({done[0].case_id}, ...). Skip them with "
            "--resume, replace them with --overwrite, or choose another --output."
        )
    failures = {}
    for case in progress(cases, len(cases)):
        try:
            _do(case, output / case.case_id, job, overwrite)
        except UserError as error:
            failures[case.case_id] = error
            if len(cases) > 1:
                _log.error("%s", _naming(case.case_id, error))
    if failures:
        first, error = next(iter(failures.items()))
        counted = f"{len(failures)} of {len(cases)} cases failed; the first: " if len(cases) > 1 else ""
        raise UserError(counted + _naming(first, error))


def progress(items: Iterable[T], total: int, unit: str = "case") -> Iterator[T]:
    """Yields the items of a job, and shows how many are done and how long the others will take.

    On a terminal this is a bar. Elsewhere it is a line in the log every `_INTERVAL` seconds, also during a long item.

    Args:
      items: what the job works on; an item is done when the next one is asked for.
      total: number of items.
      unit: name of an item.
    """
    if sys.stderr.isatty():
        yield from tqdm.tqdm(items, total=total, unit=unit)
        return
    done, began, ended = 0, time.monotonic(), threading.Event()

    def tell() -> None:
        while not ended.wait(_INTERVAL):
            _log.info("%s", progress_line(done, total, time.monotonic() - began, unit))

    threading.Thread(target=tell, daemon=True).start()
    try:
        for item in items:
            yield item
            done += 1
    finally:
        ended.set()


def progress_line(done: int, total: int, seconds: float, unit: str) -> str:
    """One line that says how many items are done after some seconds, and the time left at this speed."""
    if not done:
        return f"0 of {total} {unit}s done in {_duration(seconds)}"
    return f"{done} of {total} {unit}s done, {_duration(seconds / done * (total - done))} left"


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def _do(case: CaseFiles, output: Path, job: Job, overwrite: bool) -> None:
    with atomic.new_folder(output, RECORD_FILE, overwrite) as folder:
        write_record(folder / RECORD_FILE, job(case, folder))


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record, with the entries that all records share."""
    common = {
        "disclaimer": constants.DISCLAIMER,
        "version": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    atomic.write_text(path, json.dumps({**common, **record}, indent=1) + "\n")


def _naming(case_id: str, error: Exception) -> str:
    text = str(error)
    return text if case_id in text else f"Case {case_id}: {text}"
