"""Flat records on disk: what experiments measured, one value per row. Files and folders appear whole or not at all.

JSON is the form to read back: types survive, and NaN and infinities are written
as the strings "NaN", "Infinity" and "-Infinity", which strict JSON allows. CSV
is for spreadsheets and for logs.
"""

import csv
import io
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from mmsynth_tf import locks
from mmsynth_tf.commands import UserError

Value = str | int | float | bool | None
Record = Mapping[str, Value]

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed otherwise."""
    path = Path(path)
    _remove_abandoned(path.parent, f".{path.name}.", ".tmp")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        with locks.holding(temporary):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
    except OSError as error:
        # Where writing fails, other than opening, the error does not say what was written.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(output: Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder that takes the name `output` when the block ends well and is deleted when it does not.

    What a process left that was killed is cleared away by the next that makes the same folder.

    Args:
      output: the folder.
      marker: file that such a folder holds; only a folder that holds it is ever replaced.
      overwrite: replace the folder if it exists.

    Raises:
      UserError: `output` exists and may not be overwritten, or nothing can be written there.
    """
    _put_back_replaced(output)
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists. Choose another --output, or replace it with --overwrite.")
    if output.exists() and not (output / marker).is_file():
        # A slip of the hand must not delete a folder of patients.
        raise UserError(
            f"{output} is not overwritten, for it was not made by this command ({marker} is missing). "
            "Choose another --output or delete it yourself."
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(output.parent, f".{output.name}.incomplete-")
        # Python's mkdtemp would give it to its owner alone; permissions of results follow the umask.
        scratch = output.with_name(f".{output.name}.incomplete-{secrets.token_hex(8)}")
        scratch.mkdir()
    except OSError as error:
        raise UserError(
            f"Cannot write in {output.parent} ({error.strerror}). Choose another --output or change its permissions."
        ) from error
    try:
        with locks.holding(scratch):
            yield scratch
            _replace_folder(scratch, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace_folder(scratch: Path, output: Path) -> None:
    if not output.exists():
        scratch.rename(output)
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{output.name}.replaced-", dir=output.parent))
    with locks.holding(replaced):
        output.rename(replaced / output.name)
        scratch.rename(output)
        shutil.rmtree(replaced)


def _put_back_replaced(output: Path) -> None:
    """Where a process was killed between the two renames of a replacement, the old folder gets its name back."""
    for replaced in _abandoned(output.parent, f".{output.name}.replaced-"):
        if not output.exists() and (replaced / output.name).exists():
            (replaced / output.name).rename(output)
        shutil.rmtree(replaced, ignore_errors=True)


def _remove_abandoned(parent: Path, prefix: str, suffix: str = "") -> None:
    for path in _abandoned(parent, prefix, suffix):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _abandoned(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Temporary files and folders of processes that are no more; each is locked while it is looked at."""
    names = os.listdir(parent) if parent.is_dir() else []
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            with suppress(locks.LockedError, OSError), locks.holding(parent / name) as locked:
                if locked:
                    yield parent / name


def _flush(path: Path) -> None:
    """Waits until a file is on the disk: after a power failure a name must not stand for an empty file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file (UTF-8) atomically, making its folder if needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_json(path: str | os.PathLike, records: Sequence[Record]) -> None:
    """Writes records as a JSON list of objects, atomically."""
    plain = [{name: _to_json(value) for name, value in record.items()} for record in records]
    write_text(path, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> list[dict[str, Value]]:
    """Reads what `write_json` wrote.

    Raises:
      ValueError: the file is not a list of records.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it to have it written again.") from error
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise ValueError(f"{path} does not hold a list of records; delete it to have it written again.")
    return [{name: _from_json(value) for name, value in row.items()} for row in rows]


def write_csv(path: str | os.PathLike, records: Sequence[Record]) -> None:
    """Writes records as CSV, atomically; columns in order of first appearance, empty where a record lacks one."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, buffer.getvalue())


def read_columns(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The numeric columns of a CSV log.

    Returns:
      Column name to float64 [rows]; NaN where a cell is empty. Columns with any other text are left out.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for name in rows[0] if rows else ():
        try:
            columns[name] = np.array([float(row[name] or "nan") for row in rows])
        except ValueError:
            continue
    return columns


def _to_json(value: Value) -> Value:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _from_json(value: Value) -> Value:
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
