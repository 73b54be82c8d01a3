"""Prepared sets as a data set of nnU-Net."""

import dataclasses
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.leaks import LeakError
from mmsynth_tf.patients import nnunet
from tests.fakes import fakes_sets

NAME = "Dataset501_Tiny"


def with_validation(real: fakes_sets.DataInMemory, patient: str = "v0") -> fakes_sets.DataInMemory:
    record = {**real.record, "split": {**real.record["split"], "validation": [patient]}}
    return dataclasses.replace(
        real, record=record, examples={**real.examples, "validation": fakes_sets.examples(7, [patient])}
    )


def splits(folder: Path) -> list[dict[str, list[str]]]:
    return json.loads((folder / nnunet.SPLITS_FILE).read_text())


def test_every_slice_is_a_case_with_its_values_and_label_on_a_grid_of_its_size(tmp_path):
    real = fakes_sets.real_data(train=5)
    counts = nnunet.write_prepared(real, [], tmp_path / NAME)
    assert counts == {"real": 15, "synthetic": 0, "validation": 15, "test": 6}
    first = real.examples["train"]
    for channel in range(2):
        image = nibabel.load(tmp_path / NAME / "imagesTr" / f"real_a0_001_{channel:04d}.nii.gz")
        # Turned so that x runs from the left to the right and y from the back to the front, as in RAS.
        shown = nibabel.as_closest_canonical(image).get_fdata()[::-1, ::-1, 0].T
        np.testing.assert_allclose(shown, first["image"][1, channel, ..., 0], atol=1e-6)
        # nnU-Net would cut across rows or columns if they were further apart than slices.
        np.testing.assert_allclose(image.header.get_zooms(), [*np.array(real.config.spacing_mm)[[2, 1]], 999])
    label = nibabel.as_closest_canonical(nibabel.load(tmp_path / NAME / "labelsTr" / "real_a0_001.nii.gz"))
    np.testing.assert_array_equal(np.asarray(label.dataobj)[::-1, ::-1, 0].T, first["label"][1, ..., 0])
    description = json.loads((tmp_path / NAME / nnunet.DESCRIPTION_FILE).read_text())
    assert description["numTraining"] == 15 == len(list((tmp_path / NAME / "labelsTr").iterdir()))
    assert len(description["channel_names"]) == 2 and list(description["labels"].values()) == [0, 1, 2]


def test_without_a_validation_split_five_folds_keep_patients_together(tmp_path):
    nnunet.write_prepared(fakes_sets.real_data(train=7), [], tmp_path / NAME)
    folds = splits(tmp_path / NAME)
    assert len(folds) == 5
    patients = [{name.split("_")[1] for name in fold["val"]} for fold in folds]
    assert sorted(name for fold in patients for name in fold) == [f"a{i}" for i in range(7)]
    for fold, validated in zip(folds, patients, strict=True):
        assert len(fold["train"]) + len(fold["val"]) == 21
        assert not validated & {name.split("_")[1] for name in fold["train"]}


def test_validation_is_on_real_patients_alone_and_synthetic_slices_train(tmp_path):
    real = with_validation(fakes_sets.real_data())
    synthetic = fakes_sets.synthetic_data(fakes_sets.examples(5, ["x", "y"]), real)
    counts = nnunet.write_prepared(real, [synthetic], tmp_path / NAME)
    (fold,) = splits(tmp_path / NAME)
    assert {name.split("_")[1] for name in fold["val"]} == {"v0"}
    assert sum(name.startswith("synthetic_") for name in fold["train"]) == counts["synthetic"] == 6
    assert len(fold["train"]) == 12 + 6 and counts["validation"] == 3
    files = {path.name.removesuffix(".nii.gz") for path in (tmp_path / NAME / "labelsTr").iterdir()}
    assert files == {*fold["train"], *fold["val"]}


def test_synthetic_sets_whose_makers_saw_validation_patients_are_refused(tmp_path):
    real = with_validation(fakes_sets.real_data(), "a0")
    synthetic = fakes_sets.synthetic_data(fakes_sets.examples(5, ["x"]), real)
    with pytest.raises(LeakError, match="a0"):
        nnunet.write_prepared(real, [synthetic], tmp_path / NAME)
    assert not list(tmp_path.iterdir())


def test_synthetic_sets_need_a_validation_split(tmp_path):
    real = fakes_sets.real_data()
    synthetic = fakes_sets.synthetic_data(fakes_sets.examples(5, ["x"]), real)
    with pytest.raises(UserError, match="validation_fraction"):
        nnunet.write_prepared(real, [synthetic], tmp_path / NAME)


def test_a_slice_that_shows_nothing_of_a_modality_is_written_as_it_is(tmp_path):
    """At the ends of the head, one modality may show it and another not."""
    real = fakes_sets.real_data(train=5)
    real.examples["train"]["available"][4, 1] = False
    real.examples["train"]["image"][4, 1] = 0
    assert nnunet.write_prepared(real, [], tmp_path / NAME)["real"] == 15
    images = tmp_path / NAME / "imagesTr"
    blank = [path.name for path in images.iterdir() if not np.asarray(nibabel.load(path).dataobj).any()]
    assert blank == ["real_a1_001_0001.nii.gz"]


def test_a_case_without_a_modality_is_named(tmp_path):
    real = fakes_sets.real_data(train=5)
    real.examples["train"]["available"][3:6, 1] = False
    with pytest.raises(UserError, match=f"Case a1 .* lacks {real.config.modalities[1]}"):
        nnunet.write_prepared(real, [], tmp_path / NAME)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tumours", "Dataset5_Tumours", "Dataset501"])
def test_other_names_than_those_of_nnunet_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="Dataset123_Tumour"):
        nnunet.write_prepared(fakes_sets.real_data(train=5), [], tmp_path / name)
