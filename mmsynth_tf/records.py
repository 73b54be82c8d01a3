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
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mmsynth_tf.commands import UserError

Value = str | int | float | bool | None
Record = Mapping[str, Value]

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed otherwise."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(output: Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder that takes the name `output` when the block ends well and is deleted when it does not.

    Args:
      output: the folder.
      marker: file that such a folder holds; only a folder that holds it is ever replaced.
      overwrite: replace the folder if it exists.

    Raises:
      UserError: `output` exists and may not be overwritten, or nothing can be written there.
    """
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
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.incomplete-", dir=output.parent))
    except OSError as error:
        raise UserError(
            f"Cannot write in {output.parent} ({error.strerror}). Choose another --output or change its permissions."
        ) from error
    try:
        scratch.chmod(0o755)
        yield scratch
        if output.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{output.name}.replaced-", dir=output.parent))
            output.rename(replaced / output.name)
            scratch.rename(output)
            shutil.rmtree(replaced)
        else:
            scratch.rename(output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file (UTF-8) atomically, making its folder if needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


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
