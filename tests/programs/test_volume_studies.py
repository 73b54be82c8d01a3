"""The studies of whole volumes and of nnU-Net's predictions: what they count, and their tables."""

import json

import nibabel
import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, nnunet, segment
from tests.fakes import fake_slice_models, fakes_sets
from tests.patients.test_jobs import own_label, write_case
from tools.studies import insertions, nnunet_scores, segment_volumes, set_value


def test_found_lesions_count_as_elsewhere_if_they_touch_no_labelled_voxel():
    label, found = np.zeros((2, 9, 4, 4), np.uint8)
    label[1:3, 1, 1] = 2
    found[2:5, 1, 1], found[7, 3, 3] = 1, 1
    assert segment_volumes.elsewhere(label, found) == 1
    assert segment_volumes.elsewhere(0 * label, found) == 4
    assert segment_volumes.elsewhere(label, 0 * found) == 0


def test_whole_volumes_are_scored_for_each_subset_of_the_modalities_of_a_case(tmp_path):
    """Fake segmenters find the block, which is the label, in each modality."""
    write_case(tmp_path, label=own_label())
    models = fake_slice_models.slice_models()
    [case] = files.find(tmp_path, models.data.modalities)
    records = list(segment_volumes.measure(case, segment.Segment(models)))
    # The case has T1 and FLAIR alone.
    without = [f"without {name}" for name in models.data.modalities]
    assert {r["given"] for r in records} == {"all", "t1", "flair", *without}
    assert {r["dice"] for r in records if r["region"] == "WT"} == {1.0}
    assert [r["found ml"] for r in records] == pytest.approx([0.048] * len(records))
    dice, volumes = segment_volumes.tables(records)
    assert dice.rows[0][:3] == ["all", 1, "1.000 [1.000, 1.000]"]
    assert volumes.rows[2] == ["elsewhere ml", 0.0, 0.0, 0.0]


def test_insertions_are_listed_from_the_worst_on(tmp_path):
    for case, dice, elsewhere in (("a", [0.9, 0.5], 1.5), ("b", [0.8], 0.5)):
        (tmp_path / case).mkdir()
        tried = {"given": ["t1"], "dice": dice, "new_elsewhere_ml": elsewhere}
        record = {"case": case, "lesions": [{"source": f"donor {n}"} for n in range(2)], "joint_segmenter": tried}
        (tmp_path / case / "mmsynth.json").write_text(json.dumps(record))
    rows = insertions.table(insertions.read(tmp_path)).rows
    assert [row[:3] for row in rows[:3]] == [["a", "donor 1", 0.5], ["b", "donor 0", 0.8], ["a", "donor 0", 0.9]]
    assert rows[-1] == ["mean; 1 of 3 reach 0.85", "", pytest.approx(2.2 / 3), pytest.approx(1.0)]
    with pytest.raises(UserError, match="no insertion that a joint segmenter tried"):
        insertions.read(tmp_path / "c")


def test_predictions_of_nnu_net_are_scored_by_case(tmp_path):
    """The labels themselves as predictions, but for one class of one slice, which is missed."""
    real = fakes_sets.real_data(train=7)
    written = tmp_path / "Dataset500_Real"
    nnunet.write_prepared(real, [], written)
    predictions = written / "labelsTs"
    records = list(nnunet_scores.measure(real, predictions))
    assert {r["case"] for r in records} == set(real.cases["test"])
    assert {r["dice"] for r in records} == {1.0}
    spoilt = sorted(predictions.iterdir())[0]
    grid = nibabel.load(spoilt)
    lesion = np.asarray(grid.dataobj)
    nibabel.save(nibabel.Nifti1Image(np.where(lesion == lesion.max(), 0, lesion), grid.affine), spoilt)
    worse = list(nnunet_scores.measure(real, predictions))
    assert {r["case"] for r in worse if r["dice"] < 1} == {case for case in real.cases["test"] if case in spoilt.name}
    found = nnunet_scores.table({"real": records, "mixed": worse})
    assert [row[:2] for row in found.rows] == [["real", len(real.cases["test"])], ["mixed", len(real.cases["test"])]]
    spoilt.unlink()
    with pytest.raises(UserError, match="Predict all slices of imagesTs"):
        list(nnunet_scores.measure(real, predictions))


def test_a_set_is_scored_on_all_patients_but_those_of_the_test_split(prepared_data):
    records = list(set_value.measure(prepared_data, prepared_data, steps=1, seed=3))
    splits = {case: split for split in ("train", "validation") for case in prepared_data.cases.get(split, ())}
    assert {r["case"]: r["split"] for r in records} == splits
    assert {(r["set"], r["steps"], r["seed"]) for r in records} == {(prepared_data.path.name, 1, 3)}
    assert all(0.0 <= r["all"] <= 1.0 for r in records)
