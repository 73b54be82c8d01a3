"""Gain against the number of patients: subsets, choice of sets, units shared with segmentation gain, readings."""

import dataclasses

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.segmentation_gain import curve, curve_tables, measuring, segmentation_gain
from mmsynth_tf.experiments.segmentation_gain.curve_tables import further_patients
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.metrics.segmentation import DICE, OVERLAP_METRICS
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import plots
from mmsynth_tf.storage import records
from tests.experiments.test_segmentation_gain import synthetic

X, REAL = np.array([2.0, 4.0, 8.0, 13.0]), np.array([0.4, 0.6, 0.5, 0.8])


@pytest.mark.parametrize(
    ("start", "value", "expected"),
    [
        (0, 0.4, 0.0),
        (0, 0.5, 1.0),  # Half of the way from 2 to 4.
        (1, 0.7, 4 + 5 * 2 / 3),  # Beyond the dip, two thirds of the way from 8 to 13.
        (2, 0.55, 5 / 6),
        (2, 0.45, -5.5),  # Down to a quarter of the way from 2 to 4; 4 patients are above it.
        (0, 0.3, -np.inf),
        (3, 0.9, np.inf),
    ],
)
def test_the_curve_is_followed_to_the_first_place_with_the_value(start, value, expected):
    assert further_patients(X, REAL, start, value) == pytest.approx(expected)


def score(row: str, size: str, patient: str, value: float, **other) -> dict:
    common = {"row": row, "size": size, "training_patients": int(size) if size != "all" else 8, "fold": 0, "seed": 0}
    return {**common, "patient": patient, "region": "WT", "metric": DICE, "given": "all", "value": value, **other}


def test_a_row_is_worth_the_patients_that_the_real_curve_needs_for_its_score():
    real = {"2": 0.4, "4": 0.6, "all": 0.8}
    found = [score("real_strong", size, name, value) for size, value in real.items() for name in "ab"]
    found += [score("pasted", "2", name, 0.5, seed=seed) for name in "ab" for seed in (0, 1)]
    # Two seeds with a mean of 0.7; other patients and modalities do not count.
    found += [score("pasted", "4", name, value) for name in "ab" for value in (0.65, 0.75)]
    found += [score("pasted", "4", "a", 0.1, given="t1"), score("noise", "4", "a", 0.9)]
    table = curve_tables.tables(found)["table"]
    lines = {(line[0], line[1]): line[3:] for line in table.texts()}
    assert lines["real_strong", "2"] == ["2", "0.400 [0.400, 0.400]", "–"]
    assert lines["pasted", "2"] == ["2", "0.500 [0.500, 0.500]", "+1.0 [+1.0, +1.0]"]
    assert lines["pasted", "4"] == ["2", "0.700 [0.700, 0.700]", "+2.0 [+2.0, +2.0]"]
    assert lines["noise", "4"] == ["1", "0.900 [0.900, 0.900]", "> +4.0 [> +4.0, > +4.0]"]
    assert "With 4 patients, pasted is worth as many as 2.0 further patients (WT)." in table.caption
    assert "With 4 patients, noise is worth more than 4.0 further patients" in table.caption
    assert curve_tables.figure(found).startswith(b"\x89PNG")


def test_without_the_whole_real_curve_nothing_is_read_off():
    found = [score("real_strong", "2", "a", 0.4), score("pasted", "2", "a", 0.5), score("pasted", "4", "a", 0.5)]
    assert {line[-1] for line in curve_tables.tables(found)["table"].texts()} == {"–"}


def test_error_bars_reach_from_the_lower_to_the_upper_end(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots.Axes, "errorbar", lambda _ax, x, y, yerr, **_: drawn.append((x, y, yerr)))
    monkeypatch.setattr(plots.Figure, "legend", lambda *_args, **_kwargs: None)
    plots.lines_with_errors({"WT": {"real": np.array([[2.0], [0.5], [0.4], [0.8]])}}, "patients", "Dice")
    [(x, y, errors)] = drawn
    assert (x, y) == (2.0, 0.5)
    np.testing.assert_allclose(errors, [[0.1], [0.3]])


@pytest.fixture
def small(monkeypatch):
    """Two folds of three patients: subsets of two and three. Units are not trained; the calls are kept."""

    def measure(row, fold, seed, sets, _inputs, subsets=True):
        measured.append((row.name, fold, [data.path.name for data in sets], subsets))
        for patient in sorted(fold.tested):
            for name in OVERLAP_METRICS:
                key = {"row": row.name, "fold": fold.number, "seed": seed, "patient": patient, "case": patient}
                yield {**key, "given": "all", "region": "all", "metric": name, "value": len(fold.training) / 10}

    measured = []
    monkeypatch.setattr(splits, "FOLDS", 2)
    monkeypatch.setattr(measuring, "measure", measure)
    return measured


def made_from(data, patients, name: str):
    """A set of made lesions whose generators were trained on these patients."""
    cases = [case for case, patient in data.record["patients"].items() if patient in patients]
    made = synthetic(data, {**data.record, "split": {"train": cases}}, real_anatomy=True)
    return dataclasses.replace(made, path=made.path.with_name(name))


def test_subsets_are_measured_and_all_patients_are_shared_with_segmentation_gain(small, prepared_data, tmp_path):
    request = Request(tmp_path, prepared_data, rows=("real_strong",), seeds=(0, 3))
    segmentation_gain.run(request)
    assert len(small) == 4
    [line, other] = curve.run(request)["table"].texts()
    # Seed 3 is of the second of the two folds.
    assert [(fold.number, len(fold.training), subsets) for _, fold, _, subsets in small[4:]] == [
        (0, 2, False),
        (1, 2, False),
    ]
    for _, fold, _, _ in small:
        assert not fold.training & fold.tested and fold.training | fold.kept_apart == set(
            prepared_data.record["patients"].values()
        )
    assert line[:5] == ["real_strong", "2", "2", "6", "0.200 [0.200, 0.200]"]
    assert other[:5] == ["real_strong", "3", "2", "6", "0.300 [0.300, 0.300]"]
    folder = tmp_path / "evaluation" / "curve"
    assert (folder / "curve.png").is_file()
    assert {r["training_patients"] for r in records.read_json(folder / "records.json")} == {2, 3}
    curve.run(request)
    assert len(small) == 6


def test_a_set_is_used_for_the_smallest_subset_with_all_patients_it_saw(small, prepared_data, tmp_path):
    everyone = prepared_data.record["patients"].values()
    [first, second] = splits.patient_folds(everyone)
    two, all_of_them = splits.subset(second, 0, 2), splits.subset(second, 0, 3)
    sets = (made_from(prepared_data, two, "two"), made_from(prepared_data, all_of_them, "three"))
    tables = curve.run(Request(tmp_path, prepared_data, synthetic=sets, rows=("real_made",), seeds=(0, 1)))
    used = {(fold.number, len(fold.training)): names for _, fold, names, _ in small}
    # In the other draw, these patients are tested.
    assert used == {(0, 2): ["two"], (0, 3): ["three"]}
    assert tables["left_out"].texts() == [["real_made", "2", "1"], ["real_made", "all", "1"]]
    assert set(first) == {patient for _, fold, _, _ in small for patient in fold.tested}


def test_rows_without_sets_and_unknown_rows_are_refused(small, prepared_data, tmp_path):
    with pytest.raises(UserError, match="No row has the sets it needs"):
        curve.run(Request(tmp_path, prepared_data, rows=("noise",)))
    with pytest.raises(UserError, match="No such row: real_weak"):
        curve.run(Request(tmp_path, prepared_data, rows=("real_weak",)))
