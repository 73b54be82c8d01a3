"""Measured units on disk: a small CSV file each, from which a study continues on any machine.

A folder of units holds `settings.json` and one file for each unit. A file begins with
the unit's constant fields as JSON. Then follows a row for each case and choice of
modalities, with a column for each region and metric.
"""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import atomic
from mmsynth_tf.storage.records import Record, Value

UNITS = "units"  # Folder in that of the experiment.
SETTINGS_FILE = "settings.json"
_KEY, _VALUE = ("patient", "case", "given"), ("region", "metric", "value")
_DIGITS = 4
_LOG = logging.getLogger(__name__)


class Units:
    """The units of one study.

    Units of other settings lie in other folders beside it. Before the first unit of a study, a warning names the
    settings in which they differ.

    Args:
      folder: folder of the experiment.
      identity: what units of the study have in common (JSON values).

    Attributes:
      folder: folder of these units.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Value]):
        text = json.dumps(identity, sort_keys=True)
        self.folder = folder / UNITS / hashlib.sha256(text.encode()).hexdigest()[:8]
        if not any(self.folder.glob("*.csv")):
            for path in sorted((folder / UNITS).glob(f"*/{SETTINGS_FILE}")):
                other = json.loads(path.read_text(encoding="utf-8"))
                differing = sorted(name for name in {*identity, *other} if identity.get(name) != other.get(name))
                texts = (f"{name} {other.get(name)} instead of {identity.get(name)}" for name in differing)
                _LOG.warning("Units in %s are not used: %s.", path.parent, ", ".join(texts))
        atomic.write_text(self.folder / SETTINGS_FILE, text + "\n")

    def part(self, name: str, measure: Callable[[], Iterable[Record]]) -> list[Record]:
        """The records of one unit: read from disk if they exist, otherwise computed and stored."""
        path = self.folder / f"{name}.csv"
        if not path.is_file():
            atomic.write_text(path, _text(list(measure())))
        return read_unit(path)


def _text(records: Sequence[Record]) -> str:
    """The file of one unit."""
    constant = {name: value for name, value in records[0].items() if name not in (*_KEY, *_VALUE)}
    lines: dict[tuple, dict[str, str]] = {}
    for r in records:
        line = lines.setdefault(tuple(r[name] for name in _KEY), {name: r[name] for name in _KEY})
        line[f"{r['region']} {r['metric']}"] = repr(round(float(r["value"]), _DIGITS))
    buffer = io.StringIO()
    columns = dict.fromkeys(name for line in lines.values() for name in line)
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines.values())
    return f"{json.dumps(constant)}\n{buffer.getvalue()}"


def read_unit(path: Path) -> list[Record]:
    """The records of one unit; a value is NaN where the metric is not defined.

    Raises:
      UserError: the file does not hold a unit.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        constant, found = json.loads(first), []
        for line in csv.DictReader(lines):
            key = {name: line.pop(name) for name in _KEY}
            for column, value in line.items():
                region, _, metric = column.rpartition(" ")
                if value:
                    found.append({**constant, **key, "region": region, "metric": metric, "value": float(value)})
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no measured unit ({error}). Delete it to have it measured again.") from error


def read_folder(folder: Path, rows: Sequence[str]) -> list[Record]:
    """The records of all units in a folder, ordered by seed, fold and `rows`.

    Raises:
      UserError: the folder has no unit.
    """
    found = [read_unit(path) for path in folder.glob("*.csv")]
    if not found:
        raise UserError(f"{folder} holds no measured units (*.csv). Give a folder of units.")
    found.sort(key=lambda unit: (unit[0]["seed"], unit[0]["fold"], rows.index(unit[0]["row"])))
    return [record for unit in found for record in unit]
