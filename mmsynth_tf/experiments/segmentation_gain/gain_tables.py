"""Tables of `segmentation_gain`, from its units.

python -m mmsynth_tf.experiments.segmentation_gain.gain_tables <folder of units>
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf.experiments.segmentation_gain import rows as training_sets
from mmsynth_tf.experiments.segmentation_gain import units
from mmsynth_tf.experiments.segmentation_gain.measuring import ALL, TRAINING_SET
from mmsynth_tf.metrics import statistics
from mmsynth_tf.metrics.segmentation import DICE, PRECISION, SENSITIVITY
from mmsynth_tf.metrics.statistics import Estimate
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage.records import Record

BASE = training_sets.BASE.name
MEAN = "mean of regions"


def tables(records: Sequence[Record]) -> dict[str, Table]:
    """Tables of the scores of each row, comparisons with `BASE`, given modalities, and content of the training sets."""
    scores = [r for r in records if r["patient"] != TRAINING_SET]
    # Records without "given" are of all modalities.
    whole = [r for r in scores if r.get("given", ALL) == ALL]
    given = _given(scores)
    return {
        "table": _scores(whole),
        "comparison": _comparison(whole),
        **({"given": given} if given.rows else {}),
        "training_sets": _training_sets(records),
    }


def patient_values(records: Iterable[Record], row: str, region: str, metric: str) -> dict[str, float]:
    """One value for each patient: the mean over seeds and cases without NaN; NaN if there is none."""
    found = {}
    for r in records:
        if (r["row"], r["region"], r["metric"]) == (row, region, metric):
            found.setdefault(r["patient"], []).append(float(r["value"]))
    return {
        patient: float(np.nanmean(values)) if not np.all(np.isnan(values)) else np.nan
        for patient, values in sorted(found.items())
    }


def _scores(records: Sequence[Record]) -> Table:
    rows, regions = _in_order(records, "row"), _in_order(records, "region")
    body = []
    for row in rows:
        own = [r for r in records if r["row"] == row]
        cells = [row, len({r["patient"] for r in own}), len({r["seed"] for r in own})]
        for region in regions:
            dice = statistics.estimate([*patient_values(own, row, region, DICE).values()])
            others = [np.nanmean([*patient_values(own, row, region, m).values()]) for m in (SENSITIVITY, PRECISION)]
            cells += [interval(dice), f"{dice.median:.3f}", " / ".join(f"{value:.3f}" for value in others)]
        body.append(cells)
    columns = [column for region in regions for column in (f"{region} Dice", "median", "sensitivity / precision")]
    return Table(
        ["row", "patients", "seeds", *columns],
        body,
        "Dice per patient, mean over seeds first: mean over patients [95 % bootstrap interval], median; means of "
        "sensitivity and precision.",
    )


def _comparison(records: Sequence[Record]) -> Table:
    rows, regions = _in_order(records, "row"), _in_order(records, "region")
    lines, p_values = [], []
    for row in rows:
        for region in [*regions, *([MEAN] if len(regions) > 1 else [])] if row != BASE else ():
            differences = gains(records, row, regions if region == MEAN else [region])
            if not differences.size:
                continue
            result = statistics.estimate(differences)
            p_values.append(statistics.wilcoxon_p(differences))
            lines.append([row, region, result.count, interval(result, "+"), f"{result.median:+.3f}"])
    body = [
        [*line, f"{p:.3f}", f"{corrected:.3f}"]
        for line, p, corrected in zip(lines, p_values, statistics.holm(p_values), strict=True)
    ]
    return Table(
        ["row", "region", "patients", f"Dice minus {BASE}", "median", "p", "p, Holm"],
        body,
        "Differences per patient: mean [95 % bootstrap interval], median, Wilcoxon's signed-rank test, and "
        "Holm's correction over all tests of this table.",
    )


def gains(records: Sequence[Record], row: str, regions: Sequence[str]) -> np.ndarray:
    """Dice minus that of `BASE` for each patient that both rows have: float [patients].

    Each value is the mean over the regions whose Dice the patient has; NaN if there is none.
    """
    found: dict[str, list[float]] = {}
    for region in regions:
        base, own = (patient_values(records, name, region, DICE) for name in (BASE, row))
        for patient in own.keys() & base.keys():
            found.setdefault(patient, []).append(own[patient] - base[patient])
    defined = {patient: [value for value in values if not np.isnan(value)] for patient, values in found.items()}
    return np.array([np.mean(defined[patient]) if defined[patient] else np.nan for patient in sorted(found)])


def _given(records: Sequence[Record]) -> Table:
    """Dice from subsets of the modalities, over patients who were scored from all of these subsets."""
    dice = [{"given": ALL, **r} for r in records if r["metric"] == DICE]
    subsets, regions = _in_order(dice, "given"), _in_order(dice, "region")
    body = []
    for row in _in_order(dice, "row"):
        own = {given: [r for r in dice if (r["row"], r["given"]) == (row, given)] for given in subsets}
        everyone = set.intersection(*({r["patient"] for r in scored} for scored in own.values()))
        if len(subsets) == 1 or not everyone:
            continue
        cells = []
        for scored in own.values():
            each = (
                [value for p, value in patient_values(scored, row, region, DICE).items() if p in everyone]
                for region in regions
            )
            cells.append(" / ".join(f"{np.nanmean(values):.3f}" for values in each))
        body.append([row, len(everyone), *cells])
    return Table(
        ["row", "patients", *subsets],
        body,
        f"Modalities given: {' / '.join(regions)} Dice per patient, mean over seeds first: mean over patients.",
    )


def _training_sets(records: Sequence[Record]) -> Table:
    own = [r for r in records if r["patient"] == TRAINING_SET]
    rows, regions = _in_order(own, "row"), _in_order(own, "region")

    def share(row: str, region: str) -> float:
        return float(np.mean([float(r["value"]) for r in own if (r["row"], r["region"]) == (row, region)]))

    return Table(
        ["row", *regions],
        [[row, *(f"{share(row, region):.3f}" for region in regions)] for row in rows],
        "Share of the training slices that show each region, mean over folds and seeds.",
    )


def _in_order(records: Iterable[Record], name: str) -> list[str]:
    return list(dict.fromkeys(r[name] for r in records))


def interval(value: Estimate, sign: str = "") -> str:
    """A mean with its interval."""
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"


def main(folder: str) -> None:
    """Prints the tables of a folder of units."""
    for table in tables(units.read_folder(Path(folder), training_sets.NAMES)).values():
        if table.rows:  # Nothing is compared if there is one row.
            print(f"{table.caption}\n\n{table.markdown()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
