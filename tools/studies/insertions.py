"""Prints how well the joint segmenter finds the lesions that `mmsynth insert` inserted, from the records of the cases.

python -m tools.studies.insertions out/
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients.jobs import RECORD_FILE
from mmsynth_tf.reports.report import Table

# An inserted lesion should be found at least this well.
_GOAL = 0.85


def read(folder: Path) -> list[dict[str, Any]]:
    """The records of the insertions below a folder that a joint segmenter tried.

    Raises:
      UserError: there is none.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob(RECORD_FILE))]
    tried = [record for record in found if record.get("joint_segmenter")]
    if not tried:
        raise UserError(f"{folder} holds no insertion that a joint segmenter tried. Export the stage joint, too.")
    return tried


def table(records: list[dict[str, Any]]) -> Table:
    """A row for each lesion of each case, worst first, and one for all."""
    rows = []
    for record in records:
        tried = record["joint_segmenter"]
        for number, dice in enumerate(tried["dice"]):
            elsewhere = float(tried["new_elsewhere_ml"]) if number == 0 else "–"
            rows.append([record["case"], record["lesions"][number]["source"], dice, elsewhere])
    rows.sort(key=lambda row: row[2])
    scores = [row[2] for row in rows]
    elsewhere = [float(record["joint_segmenter"]["new_elsewhere_ml"]) for record in records]
    reached = f"{sum(score >= _GOAL for score in scores)} of {len(scores)} reach {_GOAL}"
    rows.append([f"mean; {reached}", "", float(np.mean(scores)), float(np.mean(elsewhere))])
    return Table(["case", "lesion of", "Dice", "new elsewhere, ml"], rows, "Inserted lesions, as found.")


if __name__ == "__main__":
    try:
        result = table(read(Path(sys.argv[1])))
    except UserError as error:
        sys.exit(f"Error: {error}")
    print(f"{result.caption}\n\n{result.markdown()}")
