"""A copy of the Decathlon's Task01: read right whatever way its axes run, and refused if it is something else."""

import json

import numpy as np
import pytest

from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import cases, decathlon, releases
from tests.fakes import fakes_cases, task01
from tools.proofs import tiny


@pytest.fixture
def folder(tmp_path):
    tiny.write_cases(tmp_path / "cases", 3)
    task01.write(tmp_path / "cases", tmp_path / "Task01_BrainTumour")
    return tmp_path / "Task01_BrainTumour"


def change(folder, **values):
    path = folder / decathlon.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_whole_copy_is_accepted_and_holds_a_patient_a_case(folder):
    assert decathlon.require_whole(folder) == 3
    found = releases.find_cases(folder, BRATS_MODALITIES)
    # Neither the files of a Mac nor cases without labels.
    assert [(case.case_id, case.patient_id) for case in found] == [(f"BRATS_00{n}",) * 2 for n in (1, 2, 3)]
    assert {case.release.name for case in found} == {"decathlon"}


@pytest.mark.parametrize("axes", ["RAS", "LPS"])
def test_images_and_labels_are_those_of_the_case(tmp_path, axes):
    tiny.write_cases(tmp_path / "cases", 1)
    task01.write(tmp_path / "cases", tmp_path / "task", axes)
    [original] = releases.find_cases(tmp_path / "cases", BRATS_MODALITIES)
    [rewritten] = releases.find_cases(tmp_path / "task", BRATS_MODALITIES)
    expected, found = (cases.read_case(case, fakes_cases.DATA) for case in (original, rewritten))
    for name in BRATS_MODALITIES:
        np.testing.assert_array_equal(found.images[name], expected.images[name])
    # BraTS has no class for non-enhancing tumour alone, and the Decathlon none for necrosis.
    np.testing.assert_array_equal(found.label, np.array([0, 3, 2, 3, 4])[expected.label])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modality": {"0": "T1w", "1": "FLAIR", "2": "t1gd", "3": "T2w"}}, r"names modality .*, but Task01 has"),
        ({"labels": {**task01.DESCRIPTION["labels"], "2": "enhancing tumour", "3": "non-enhancing tumor"}}, "labels"),
        ({"licence": "CC-BY-NC 4.0"}, "licence 'CC-BY-NC 4.0' instead of CC-BY-SA 4.0"),
        ({"training": []}, "of 0 labelled cases"),
        ({"training": 7}, "does not describe"),
    ],
)
def test_another_data_set_is_refused(folder, values, message):
    change(folder, **values)
    with pytest.raises(UserError, match=message):
        decathlon.require_whole(folder)


def test_files_that_are_missing_are_named(folder):
    (folder / "labelsTr" / "BRATS_002.nii.gz").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of the files of 3 labelled cases: labelsTr/BRATS_002\.nii\.gz"):
        decathlon.require_whole(folder)


def test_unpacked_images_are_found(folder):
    path = folder / "imagesTr" / "BRATS_002.nii.gz"
    path.rename(path.with_suffix(""))
    assert decathlon.require_whole(folder) == 3


def test_a_folder_without_description_is_refused(tmp_path):
    with pytest.raises(UserError, match="Give the folder Task01_BrainTumour"):
        decathlon.require_whole(tmp_path)
