"""The segmenter of all modalities, cross-fitted: folds, rows, refusals, units that are kept, and tables."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import gain_tables, measuring, segmentation_gain, slices, training, units
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.metrics.segmentation import OVERLAP_METRICS
from mmsynth_tf.reading import splits
from mmsynth_tf.storage import records
from tools.studies import training_length

PATIENTS = [f"patient {number}" for number in range(17)]


def synthetic(real, seen: dict, real_anatomy: bool = False):
    """A set whose generators were trained on the patients of the record `seen`."""
    generation = {
        "trained_on": {constants.STRUCTURE: [seen]},
        "labels_from": seen,
        "settings": {"real_anatomy": real_anatomy},
    }
    record = {"source": "synthetic", "split": {"train": []}, "patients": {}, "generation": generation}
    return dataclasses.replace(real, record=record, path=real.path.with_name("synthetic"))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_every_patient_is_tested_once_and_never_learned_from_in_that_fold(split):
    parts = slices.folds(PATIENTS * 3, split)
    assert sorted(name for fold in parts for name in fold.tested) == sorted(PATIENTS)
    for fold in parts:
        assert not fold.training & fold.kept_apart
        assert fold.tested <= fold.kept_apart
        assert fold.training | fold.kept_apart == set(PATIENTS)


def test_what_decides_on_the_design_never_saw_the_patients_of_the_outer_fold():
    for outer, inner in zip(slices.folds(PATIENTS, "test"), slices.folds(PATIENTS, "validation"), strict=True):
        assert not outer.tested & (inner.training | inner.tested)


def test_too_few_patients_are_refused():
    with pytest.raises(UserError, match="4 patients are too few for 5 folds"):
        slices.folds(PATIENTS[:4], "test")


def test_all_slices_of_all_splits_are_read_in_order(prepared_data):
    everyone = slices.read_slices(prepared_data)
    assert everyone.image.shape == (24, 16, 16, 4)
    own = everyone.of([everyone.patient[5]])
    assert len(own.label) == 4 and list(own.number) == sorted(own.number)
    assert set(own.patient) == {everyone.patient[5]}


@pytest.mark.parametrize("augmentation", [training.NONE, training.WEAK, training.STRONG])
def test_batches_follow_from_seed_and_step_and_hold_each_part_equally(rng, augmentation):
    def part(value: int) -> training.Examples:
        return rng.uniform(0.1, 1, (3, 16, 16, 2)).astype(np.float16), np.full((3, 16, 16), value, np.uint8)

    draw = training.batches([part(1), part(2)], augmentation, seed=7)
    first, again, other = (draw(tf.constant(step, tf.int64)) for step in (4, 4, 5))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    # The middle stays in the image whatever moves.
    np.testing.assert_array_equal(first["label"][:, 8, 8, 0], np.repeat([1, 2], training.BATCH // 2))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(splits, "FOLDS", 2)
    network = training.JointSegmenter

    def narrow(*args, **kwargs):
        return network(*args, base_filters=2, levels=2)

    monkeypatch.setattr(training, "JointSegmenter", narrow)


def test_rows_are_measured_once_and_every_patient_is_scored(small, prepared_data, tmp_path, monkeypatch):
    request = Request(tmp_path, prepared_data, steps=2, rows=("pasted",))
    tables = segmentation_gain.run(request)
    folder = tmp_path / "evaluation" / "segmentation_gain"
    kept = records.read_json(folder / "records.json")
    scored = [(r["patient"], r["given"]) for r in kept if r["metric"] == "dice"]
    # Six patients, from all modalities, each alone and all but each.
    assert len(scored) == len(set(scored)) == 6 * 9
    assert {r["given"] for r in kept if r["metric"] == "precision"} == {"all"}
    assert {r["fold"] for r in kept} == {0, 1}
    assert [table.rows[0][:2] for name, table in tables.items() if name in ("table", "given")] == [["pasted", 6]] * 2

    # Another machine that has the same data and the units.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "units", elsewhere / "evaluation" / "segmentation_gain" / "units")
    monkeypatch.setattr(measuring, "measure", refuse_to_measure)
    again = segmentation_gain.run(dataclasses.replace(request, workdir=elsewhere))
    assert [table.texts() for table in again.values()] == [table.texts() for table in tables.values()]


def refuse_to_measure(*_args):
    raise AssertionError("a unit is measured again")


def test_units_of_other_settings_are_not_taken_over(small, prepared_data, tmp_path, monkeypatch, caplog):
    request = Request(tmp_path, prepared_data, steps=2, rows=("pasted",))
    folder = units.Units(tmp_path / "evaluation" / "segmentation_gain", {"steps": 1, "split": "test"}).folder
    (folder / "seed0_pasted_fold0.csv").write_text("not read")
    monkeypatch.setattr(measuring, "measure", refuse_to_measure)
    with pytest.raises(AssertionError, match="measured again"):
        segmentation_gain.run(request)
    assert f"Units in {folder} are not used: base_filters None instead of" in caplog.text
    assert "steps 1 instead of 2" in caplog.text and "split" not in caplog.text


def test_a_unit_that_is_no_unit_is_refused(tmp_path):
    path = tmp_path / "seed0_pasted_fold0.csv"
    path.write_text("nonsense")
    with pytest.raises(UserError, match="holds no measured unit"):
        units.read_unit(path)


@pytest.mark.parametrize(
    ("names", "subsets"),
    [
        (["t1"], ["all"]),
        (["t1", "t2"], ["all", "t1", "t2"]),
        (["a", "b", "c"], ["all", "a", "b", "c", "without a", "without b", "without c"]),
    ],
)
def test_each_subset_of_the_modalities_is_scored_once(names, subsets):
    given = measuring.given_modalities(names)
    assert list(given) == subsets
    assert all(kept == [name == other for other in names] for name, kept in given.items() if name in names)
    assert len({tuple(kept) for kept in given.values()}) == len(given)


def test_a_set_of_pasted_lesions_is_used_if_it_is_given_and_fits(small, prepared_data, tmp_path, monkeypatch):
    def unit(_row, _fold, _seed, sets, _inputs):
        given.append([data.path for data in sets])
        return [score("pasted", "a", 0.5) | {"case": "a", "given": "all"} | {"metric": m} for m in OVERLAP_METRICS]

    given = []
    monkeypatch.setattr(measuring, "measure", unit)
    nobody = {**prepared_data.record, "split": {"train": []}}
    pasted = synthetic(prepared_data, nobody, real_anatomy=True)
    pasted.record["generation"]["lesions"] = constants.PASTED
    request = Request(tmp_path, prepared_data, synthetic=(pasted,), steps=2)
    segmentation_gain.run(dataclasses.replace(request, rows=("pasted",)))
    assert given == [[pasted.path]] * 2
    with pytest.raises(UserError, match="needs a set of made lesions"):
        segmentation_gain.run(dataclasses.replace(request, rows=("real_made",)))


def test_unknown_rows_are_refused(prepared_data, tmp_path):
    with pytest.raises(UserError, match="No such row: made_up"):
        segmentation_gain.run(Request(tmp_path, prepared_data, rows=("made_up",)))


def test_a_row_without_its_set_is_refused(small, prepared_data, tmp_path):
    with pytest.raises(UserError, match="needs a set of slices from noise"):
        segmentation_gain.run(Request(tmp_path, prepared_data, rows=("noise",)))


def test_sets_that_saw_the_tested_patients_are_refused(small, prepared_data, tmp_path):
    seen = {
        **prepared_data.record,
        "split": {"train": [case for cases in prepared_data.cases.values() for case in cases]},
    }
    with pytest.raises(leaks.LeakError, match="every set of slices from noise have seen test patients of each fold"):
        segmentation_gain.run(
            Request(tmp_path, prepared_data, synthetic=(synthetic(prepared_data, seen),), rows=("noise",))
        )


def test_a_row_is_measured_in_the_folds_that_its_sets_fit_and_others_are_named(
    small, prepared_data, tmp_path, monkeypatch
):
    def unit(row, fold, _seed, sets, _inputs):
        given.append((row.name, fold.number, [data.path for data in sets]))
        return [score(row.name, "a", 0.5) | {"case": "a", "given": "all"} | {"metric": m} for m in OVERLAP_METRICS]

    given = []
    monkeypatch.setattr(measuring, "measure", unit)
    first = slices.folds(slices.read_slices(prepared_data).patient.tolist(), "test")[0]
    patients = prepared_data.record["patients"]
    cases = [case for cases in prepared_data.cases.values() for case in cases]
    trained = [case for case in cases if patients.get(case, case) in first.training]
    noise = synthetic(prepared_data, {**prepared_data.record, "split": {"train": trained}})
    request = Request(tmp_path, prepared_data, synthetic=(noise,), steps=2, rows=("real_strong", "noise"))
    tables = segmentation_gain.run(request)
    assert given == [("real_strong", 0, []), ("noise", 0, [noise.path]), ("real_strong", 1, [])]
    assert tables["left_out"].rows == [["noise", "1"]]


def score(row: str, patient: str, value: float, seed: int = 0) -> dict:
    return {"row": row, "patient": patient, "seed": seed, "region": "WT", "metric": "dice", "value": value}


def test_seeds_are_averaged_before_patients_and_pairs_are_compared():
    gains = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5}
    rows = [score(gain_tables.BASE, name, 0.4 + step, seed) for name in gains for seed, step in ((0, -0.1), (1, 0.1))]
    rows += [score("pasted", name, 0.4 + gain) for name, gain in gains.items()]
    rows += [{**r, "metric": metric} for r in rows for metric in ("sensitivity", "precision")]
    [line] = gain_tables.tables(rows)["comparison"].texts()
    # Five gains of one sign: p is 2 / 32.
    assert line[:3] == ["pasted", "WT", "5"] and line[3].startswith("+0.300 [") and line[-2:] == ["0.062", "0.062"]


def test_main_tables_are_of_all_modalities_and_subsets_have_a_table_of_their_own():
    rows = [score(gain_tables.BASE, name, 0.6) for name in "ab"]  # Without "given".
    rows += [
        {**score("pasted", name, value, seed), "given": given}
        for name, seed, given, value in [
            ("a", 0, "all", 0.8),
            ("a", 1, "all", 0.6),
            ("a", 0, "t1", 0.3),
            ("a", 1, "t1", 0.1),
            ("b", 0, "all", 0.1),
        ]
    ]
    rows += [{**r, "metric": metric} for r in rows for metric in ("sensitivity", "precision")]
    tables = gain_tables.tables(rows)
    assert [line[:2] for line in tables["table"].texts()] == [[gain_tables.BASE, "2"], ["pasted", "2"]]
    assert tables["table"].texts()[1][3].startswith("0.400 [")
    # Patient b was not scored from t1.
    assert tables["given"].texts() == [["pasted", "1", "0.700", "0.200"]]


def test_patients_that_one_row_lacks_are_not_compared():
    rows = [score(gain_tables.BASE, "a", 0.5), score("pasted", "a", 0.6), score("pasted", "b", 0.1)]
    rows += [{**r, "metric": metric} for r in rows for metric in ("sensitivity", "precision")]
    [line] = gain_tables.tables(rows)["comparison"].texts()
    assert line[2] == "1" and line[3] == "+0.100 [+0.100, +0.100]"


def test_the_mean_of_regions_is_compared_patient_by_patient():
    gains = {("a", "WT"): 0.1, ("a", "TC"): 0.3, ("b", "WT"): 0.0, ("b", "TC"): np.nan}
    rows = [{**score(gain_tables.BASE, patient, 0.5), "region": region} for patient, region in gains]
    rows += [{**score("pasted", patient, 0.5 + gain), "region": region} for (patient, region), gain in gains.items()]
    assert gain_tables.gains(rows, "pasted", ["WT", "TC"]) == pytest.approx([0.2, 0.0])
    rows += [{**r, "metric": metric} for r in rows for metric in ("sensitivity", "precision")]
    *_, line = gain_tables.tables(rows)["comparison"].texts()
    assert line[:2] == ["pasted", gain_tables.MEAN] and line[3].startswith("+0.100 [")


def test_the_page_of_real_cases_is_as_its_records_have_it(capsys):
    repository = Path(__file__).resolve().parents[2]
    page = (repository / "docs" / "experiments" / "joint_17_cases.md").read_text(encoding="utf-8")
    [folder] = re.findall(r"gain_tables (docs/experiments/records/\S+)", page)
    gain_tables.main(str(repository / folder))
    assert page.endswith(capsys.readouterr().out.rstrip() + "\n")


def test_training_lengths_are_compared_on_the_rows_and_patients_that_both_have():
    short = [{**score(gain_tables.BASE, name, 0.5), "steps": 600} for name in "abc"]
    long = [{**score(gain_tables.BASE, name, value), "steps": 1200} for name, value in (("a", 0.6), ("b", 0.8))]
    long.append({**score("pasted", "a", 0.9), "steps": 1200})
    # In any order.
    assert training_length.table([long, short]).texts() == [
        [gain_tables.BASE, "600 to 1200", "2", *["+0.200 [+0.100, +0.300]"] * 2]
    ]
