"""The README's table of the joint segmenter, from the units of `tools/studies/joint_17_cases.sh`."""

from collections.abc import Sequence
from pathlib import Path

from mmsynth_tf.experiments.segmentation_gain import gain_tables, units
from mmsynth_tf.experiments.segmentation_gain import rows as training_sets
from mmsynth_tf.experiments.segmentation_gain.measuring import ALL, TRAINING_SET
from mmsynth_tf.metrics import statistics
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.storage.records import Record
from tools.studies import cells

# Of 3,000 steps, test patients, whole heads.
_UNITS = Path(__file__).resolve().parents[2] / "docs/experiments/records/joint_17_cases/952fa146"
_WORDS = {
    gain_tables.BASE: "real slices",
    "pasted": "real slices and pasted lesions",
    "painted": "real slices and painted lesions",
}


def joint() -> str:
    """The table of the training sets that were tested on all patients."""
    records = units.read_folder(_UNITS, training_sets.NAMES)
    whole = [r for r in records if r["patient"] != TRAINING_SET and r.get("given", ALL) == ALL]
    return table(whole)


def table(records: Sequence[Record]) -> str:
    """A row for each training set, from records of all modalities."""
    regions, everyone = list(dict.fromkeys(r["region"] for r in records)), {r["patient"] for r in records}
    body = []
    for row, words in _WORDS.items():
        scores = [gain_tables.patient_values(records, row, region, DICE) for region in regions]
        if set(scores[0]) != everyone:
            continue
        means = [gain_tables.interval(statistics.estimate([*score.values()])) for score in scores]
        gain = statistics.estimate(gain_tables.gains(records, row, regions))
        body.append((words, *means, "–" if row == gain_tables.BASE else gain_tables.interval(gain, "+")))
    return cells.table(("trained on", *regions, "gain in the mean of regions"), body)
