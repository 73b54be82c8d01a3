"""Location of the experiments' records, and tables of finished experiments."""

import json
import pathlib

from mmsynth_tf.reports import report

EVALUATION = "evaluation"  # Folder in the work directory.
RECORDS_FILE = "records.json"
TABLES_FILE = "tables.json"


def finished_tables(workdir: pathlib.Path, experiment: str) -> dict[str, report.Table]:
    """The tables of an experiment in a work directory; empty if it is not finished."""
    path = pathlib.Path(workdir) / EVALUATION / experiment / TABLES_FILE
    if not path.is_file():
        return {}
    whole = json.loads(path.read_text(encoding="utf-8"))
    return {name: report.Table(**table) for name, table in whole.items()}


def kept_picture(workdir: pathlib.Path, experiment: str, name: str, caption: str) -> list[report.Figure]:
    """A figure that an experiment saved in a work directory; empty if there is none."""
    path = pathlib.Path(workdir) / EVALUATION / experiment / name
    return [report.Figure(path.read_bytes(), caption)] if path.is_file() else []
