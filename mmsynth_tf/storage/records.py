"""Flat records on disk: results of experiments, one value per row. All writes are atomic.

JSON is for reading back: it keeps types. NaN and infinities are written as the
strings "NaN", "Infinity" and "-Infinity", which strict JSON allows. CSV is for
spreadsheets and logs.
"""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf.storage.atomic import write_text

Value = str | int | float | bool | None
Record = Mapping[str, Value]

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


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
    """Reads the numeric columns of a CSV log.

    Returns:
      Column name to float64 [rows]; NaN where a cell is empty. Columns with any other text are omitted.
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
