"""Copies of training slices are found, and nothing else is taken for one."""

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks, slice_sets
from mmsynth_tf.experiments.memorisation import memorisation, searches, slice_descriptions
from mmsynth_tf.storage import records
from mmsynth_tf.training import runs
from tests.fakes import fakes, fakes_sets

NEW = [f"s{i}" for i in range(4)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the experiment on a synthetic set of given slices; returns tables and records."""
    monkeypatch.setattr(runs, "load", lambda stage, workdir: (fakes.segmenter(fakes_sets.CONFIG), fakes_sets.CONFIG))
    real = fakes_sets.real_data()

    def run(change, **settings):
        slices = fakes_sets.examples(7, NEW)
        change(slices["image"], real.examples["train"]["image"])
        tables = memorisation.run(
            fakes_sets.request(tmp_path, real, fakes_sets.synthetic_data(slices, real), **settings)
        )
        return tables, records.read_json(tmp_path / "evaluation" / "memorisation" / "records.json")

    return run


def unchanged(images, training_images):
    """Leaves the synthetic slices as they are."""


def verdicts(rows):
    return {row["space"]: row["value"] for row in rows if row["metric"] == memorisation.VERDICT}


def test_new_slices_are_no_copies(run):
    tables, rows = run(unchanged, rows=("image",))
    found = verdicts(rows)
    assert found["image"].startswith("No copies found: 0 of 12")
    assert found["image"] in tables["table"].caption


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_planted_copy_is_found_and_named(run, mirrored):
    def plant(images, training_images):
        images[5] = training_images[4][..., ::-1, :] if mirrored else training_images[4]

    tables, rows = run(plant, rows=("image",))
    assert verdicts(rows)["image"].startswith("Copies suspected: 1 of 12")
    closest = tables["closest_pairs"].rows[0]
    _, _, sample, distance, ratio, case, number, _, answer, turned = closest
    assert (sample, case, number, answer) == ("synthetic_5", "a1", 1, "yes" if mirrored else "no")
    assert distance == pytest.approx(0, abs=1e-3)
    assert turned == pytest.approx(0, abs=1)
    assert ratio == pytest.approx(0, abs=1e-2)


def test_slices_at_the_ends_of_the_head_neither_count_nor_hide_copies(run):
    """Two patients show the same few pixels, which would be the smallest distance by chance."""

    def plant(images, training_images):
        for patient in (0, 3):
            training_images[patient, ..., :] = 0
            training_images[patient, :, 14:18, 14:18] = 0.5
        images[1] = training_images[0]
        images[5] = training_images[4]

    _, rows = run(plant, rows=("image",))
    assert verdicts(rows)["image"].startswith("Copies suspected: 1 of 11")
    found = [row for row in rows if row["metric"] == memorisation.NEAREST_DISTANCE]
    assert {(row["case"], row["slice"]) for row in found} >= {("a0", 1), ("a1", 1), ("synthetic_5", 2)}
    assert not {("a0", 0), ("a1", 0)} & {(row["case"], row["slice"]) for row in found if row["test_data"] == "real"}


def test_every_sample_and_every_unseen_slice_has_a_record_in_every_space(run):
    _, rows = run(unchanged)
    found = [row for row in rows if row["metric"] == memorisation.NEAREST_DISTANCE]
    count = {
        (space, name): sum(row["space"] == space and row["test_data"] == name for row in found)
        for space in searches.searches(None, None)
        for name in ("real", "synthetic")
    }
    # Each of four training cases (images alone) and of two test cases has three slices, a map for each modality.
    assert count == {
        ("image", "real"): 12 + 6,
        ("image", "synthetic"): 12,
        ("features", "real"): 6,
        ("features", "synthetic"): 12,
        (slice_sets.STRUCTURE_MAP, "real"): 12,
        (slice_sets.STRUCTURE_MAP, "synthetic"): 12,
    }


def test_what_was_measured_is_not_measured_again(run, monkeypatch):
    first, _ = run(unchanged, rows=("image",))
    monkeypatch.setattr(slice_sets.SliceSet, "batches", lambda self: pytest.fail("a set was read again"))
    second, _ = run(unchanged, rows=("image",))
    assert second["table"].rows == first["table"].rows


def test_patients_that_were_not_searched_are_counted():
    real = fakes_sets.real_data()
    other = {"source": "cases", "split": {"train": ["a0", "z"]}, "patients": {}}
    synthetic = fakes_sets.synthetic_data(fakes_sets.examples(7, NEW), real)
    synthetic.record["generation"]["labels_from"] = other
    assert memorisation._not_searched(synthetic, real) == 1


def test_patients_that_were_trained_on_are_no_measure_of_chance(run):
    with pytest.raises(leaks.LeakError):
        run(unchanged, split="train")


def test_unknown_spaces_are_refused(run):
    with pytest.raises(UserError, match=r"No such space: pixels\. The spaces are image"):
        run(unchanged, rows=("pixels",))


def test_absent_modalities_have_no_maps():
    slices = fakes_sets.examples(0, ["a"])
    slices["available"][0, 1] = False
    slices = {**slices, "case_id": np.array([b"a"] * 3), "patient_id": np.array([b"a"] * 3)}
    batch = {**slices, "image": slices["image"].astype(np.float32)}
    described, names = slice_descriptions.describe_maps(batch, fakes_sets.CONFIG.structure_map, ("t1", "t2"))
    assert len(described.values) == len(names) == 5
    assert [name["modality"] for name in names if name["slice"] == 0] == ["t1"]
