"""Is a training long enough? Compares units of `segmentation_gain` that differ in their number of steps.

python -m tools.studies.training_length <folder of units> <folder of units> ...
"""

import itertools
import sys
from pathlib import Path

import numpy as np

from mmsynth_tf.experiments.segmentation_gain import gain_tables, units
from mmsynth_tf.experiments.segmentation_gain import rows as training_sets
from mmsynth_tf.experiments.segmentation_gain.measuring import ALL, TRAINING_SET
from mmsynth_tf.metrics import statistics
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage.records import Record


def table(records: list[list[Record]]) -> Table:
    """Gain of each training length over the next shorter one, on the rows and patients that both have.

    Args:
      records: the units of each length, all modalities given.
    """
    ordered = sorted(records, key=lambda length: length[0]["steps"])
    body = []
    for shorter, longer in itertools.pairwise(ordered):
        regions = dict.fromkeys(r["region"] for r in longer)
        measured = {r["row"] for r in shorter}
        for row in dict.fromkeys(r["row"] for r in longer if r["row"] in measured):
            gains = {region: _gains(shorter, longer, row, region) for region in regions}
            mean = np.nanmean([list(gain.values()) for gain in gains.values()], axis=0)
            cells = [gain_tables.interval(statistics.estimate([*gain.values()]), "+") for gain in gains.values()]
            whole = gain_tables.interval(statistics.estimate(mean), "+")
            body.append([row, f"{shorter[0]['steps']} to {longer[0]['steps']}", len(mean), *cells, whole])
    return Table(
        ["row", "steps", "patients", *regions, "mean of regions"],
        body,
        "Dice gained per patient: mean [95 % bootstrap interval].",
    )


def _gains(shorter: list[Record], longer: list[Record], row: str, region: str) -> dict[str, float]:
    before, after = (gain_tables.patient_values(records, row, region, DICE) for records in (shorter, longer))
    return {patient: after[patient] - before[patient] for patient in after if patient in before}


def main(*folders: str) -> None:
    """Prints the table of some folders of units."""
    found = [units.read_folder(Path(folder), training_sets.NAMES) for folder in folders]
    whole = [[r for r in records if r["patient"] != TRAINING_SET and r.get("given", ALL) == ALL] for records in found]
    result = table(whole)
    print(f"{result.caption}\n\n{result.markdown()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
