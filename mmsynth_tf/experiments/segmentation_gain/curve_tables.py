"""Table, sentences and figure of `curve`, from its units.

python -m mmsynth_tf.experiments.segmentation_gain.curve_tables <folder of units> [<figure.png>]
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf.experiments.segmentation_gain import rows as training_sets
from mmsynth_tf.experiments.segmentation_gain import units
from mmsynth_tf.experiments.segmentation_gain.gain_tables import BASE, interval, patient_values
from mmsynth_tf.experiments.segmentation_gain.measuring import ALL, TRAINING_SET
from mmsynth_tf.metrics import statistics
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.reports import plots
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage.records import Record

CAPTION = "Dice against the number of patients whose slices, or generators trained on them, were used; 95 % intervals."
_DRAWS = 1_000


def tables(records: Sequence[Record]) -> dict[str, Table]:
    """One table: Dice of each row and number of patients, and how many further patients the row is worth."""
    curves = {region: _Curves(records, region) for region in dict.fromkeys(r["region"] for r in records)}
    first = next(iter(curves.values()))
    body = []
    for row, size in first.points:
        cells = [row, f"{first.patients[size]:.3g}", len({r["fold"] for r in first.of(row, size)})]
        for region in curves.values():
            estimate = statistics.estimate([*region.values(row, size).values()])
            cells += [interval(estimate), region.worth_text(row, size)]
        body.append([*cells[:3], len(first.values(row, size)), *cells[3:]])
    columns = [column for region in curves for column in (f"{region} Dice", "worth")]
    caption = (
        "Dice per patient, mean over seeds first: mean over patients [95 % bootstrap interval]. Worth: number of "
        f"further patients at which {BASE} has the same Dice, interpolated [interval]; > or < where the curve ends. "
    )
    return {
        "table": Table(["row", "patients", "draws", "tested", *columns], body, caption + " ".join(first.sentences()))
    }


def figure(records: Sequence[Record]) -> bytes:
    """The curves of all regions as PNG."""
    panels = {}
    for region in dict.fromkeys(r["region"] for r in records):
        curves, series = _Curves(records, region), {}
        for row, size in curves.points:
            estimate = statistics.estimate([*curves.values(row, size).values()])
            point = curves.patients[size], estimate.mean, estimate.low, estimate.high
            series.setdefault(row, []).append(point)
        panels[region] = {row: np.array(points).T for row, points in series.items()}
    return plots.lines_with_errors(panels, "patients", "Dice")


class _Curves:
    """Dice of one region by row, number of patients and tested patient."""

    def __init__(self, records: Iterable[Record], region: str):
        self._region = region
        self._records = [
            r
            for r in records
            if r["patient"] != TRAINING_SET and (r["region"], r["metric"], r["given"]) == (region, DICE, ALL)
        ]
        found = {(r["row"], r["size"]) for r in self._records}
        sizes = sorted({size for _, size in found}, key=lambda size: (size == ALL, len(size), size))
        # Folds may differ by one patient.
        self.patients = {
            size: float(
                np.mean([*{r["fold"]: r["training_patients"] for r in self._records if r["size"] == size}.values()])
            )
            for size in sizes
        }
        order = [(row, size) for row in training_sets.NAMES for size in sizes]
        self.points = [point for point in order if point in found]
        self._values = {point: patient_values(self.of(*point), point[0], region, DICE) for point in self.points}

    def of(self, row: str, size: str) -> list[Record]:
        """The records of one point."""
        return [r for r in self._records if (r["row"], r["size"]) == (row, size)]

    def values(self, row: str, size: str) -> dict[str, float]:
        """Dice of each tested patient with a value."""
        return {patient: value for patient, value in self._values[row, size].items() if not np.isnan(value)}

    def worth(self, row: str, size: str) -> tuple[float, float, float] | None:
        """Further patients that the row is worth, with its interval over patients; None where it is not defined.

        The real curve is of the patients whom the row was tested on.
        """
        sizes = list(self.patients)
        if row == BASE or size == sizes[-1] or any((BASE, other) not in self._values for other in sizes):
            return None
        columns = [*(self.values(BASE, other) for other in sizes), self.values(row, size)]
        common = sorted(set.intersection(*map(set, columns)))
        if not common:
            return None
        table = np.array([[column[patient] for column in columns] for patient in common])
        x, start = np.array([*self.patients.values()]), sizes.index(size)
        drawn = np.random.default_rng(0).integers(len(common), size=(_DRAWS, len(common)))
        found = [further_patients(x, means[:-1], start, means[-1]) for means in table[drawn].mean(axis=1)]
        # Interpolated quantiles would be undefined beside infinities.
        low, high = np.quantile(found, [0.025, 0.975], method="inverted_cdf")
        means = table.mean(axis=0)
        return further_patients(x, means[:-1], start, means[-1]), float(low), float(high)

    def worth_text(self, row: str, size: str) -> str:
        worth = self.worth(row, size)
        if worth is None:
            return "–"
        value, low, high = (self._bounded(number, size) for number in worth)
        return f"{value} [{low}, {high}]"

    def sentences(self) -> list[str]:
        """What each row is worth with the largest subset that is not all."""
        sizes = list(self.patients)[:-1]
        found = []
        for row in dict.fromkeys(row for row, _ in self.points):
            worth = self.worth(row, sizes[-1]) if sizes and (row, sizes[-1]) in self._values else None
            if worth is None:
                continue
            number = self._bounded(worth[0], sizes[-1]).lstrip("+")
            text = f"is worth as many as {number} further patients"
            if worth[0] == np.inf:
                text = f"is worth more than {number.lstrip('> +')} further patients: it lies above the whole curve"
            elif worth[0] <= 0:
                text = "is worth no further patient"
            found.append(f"With {sizes[-1]} patients, {row} {text} ({self._region}).")
        return found

    def _bounded(self, number: float, size: str) -> str:
        """A number of further patients, or the end of the curve beyond which it lies."""
        x = [*self.patients.values()]
        if np.isfinite(number):
            return f"{number:+.1f}"
        return f"> {x[-1] - self.patients[size]:+.1f}" if number > 0 else f"< {x[0] - self.patients[size]:+.1f}"


def further_patients(x: np.ndarray, real: np.ndarray, start: int, value: float) -> float:
    """Reads off a curve how many more patients give a value.

    From the given point, the curve is followed upwards if the value lies above it and downwards otherwise, up to the
    first place with that value; between points it is linear.

    Args:
      x: float [S], numbers of patients, rising.
      real: float [S], the curve.
      start: index of the point with as many patients as the value was reached with.
      value: the value.

    Returns:
      Number of further patients, negative if fewer are enough; infinite where the curve ends before.
    """
    if value == real[start]:
        return 0.0
    upwards = value > real[start]
    step, last = (1, len(x) - 1) if upwards else (-1, 0)
    for here in range(start, last, step):
        there = here + step
        if (real[there] >= value) if upwards else (real[there] <= value):
            share = (value - real[here]) / (real[there] - real[here])
            return float(x[here] + share * (x[there] - x[here]) - x[start])
    return np.inf if upwards else -np.inf


def main(folder: str, picture: str | None = None) -> None:
    """Prints the table of a folder of units, and draws the figure if a file is named."""
    records = units.read_folder(Path(folder), training_sets.NAMES)
    for table in tables(records).values():
        print(f"{table.caption}\n\n{table.markdown()}")
    if picture:
        Path(picture).write_bytes(figure(records))


if __name__ == "__main__":
    main(*sys.argv[1:])
