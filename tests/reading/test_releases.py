from pathlib import Path

import pytest

from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.releases import CaseFiles, find_cases, search_cases

VSD = "VSD.Brain.XX.O.{}.5/VSD.Brain.XX.O.{}.5.mha"
LAYOUTS = {
    "brats2017-2021": [
        "{c}/{c}_t1.nii.gz",
        "{c}/{c}_t2.nii.gz",
        "{c}/{c}_t1ce.nii.gz",
        "{c}/{c}_flair.nii",
        "{c}/{c}_seg.nii.gz",
    ],
    "brats2023": [
        "{c}/{c}-t1n.nii.gz",
        "{c}/{c}-t2w.nii.gz",
        "{c}/{c}-t1c.nii.gz",
        "{c}/{c}-t2f.nii.gz",
        "{c}/{c}-seg.nii.gz",
    ],
    "brats2015": ["HGG/{c}/" + VSD.format(k, k) for k in ("MR_T1", "MR_T2", "MR_T1c", "MR_Flair", "OT")],
    "decathlon": ["imagesTr/{c}.nii.gz", "labelsTr/{c}.nii.gz"],
    "custom": [
        "{c}/{c}_t1.nii.gz",
        "{c}/{c}_t2.nii.gz",
        "{c}/{c}_t1c.nii.gz",
        "{c}/{c}_flair.nii.gz",
        "{c}/{c}_seg.nii.gz",
    ],
}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("release", LAYOUTS)
def test_detects_release_and_finds_all_files(tmp_path, release):
    touch(tmp_path, *[name.format(c="case_a") for name in LAYOUTS[release]], "case_a/.hidden_t1.nii.gz", "notes.txt")
    [case] = find_cases(tmp_path, BRATS_MODALITIES)
    assert (case.case_id, case.release.name) == ("case_a", release)
    assert tuple(case.images) == BRATS_MODALITIES
    assert case.label is not None


def test_decathlon_modalities_are_channels(tmp_path):
    touch(tmp_path, "imagesTr/BRATS_001.nii.gz")
    [case] = find_cases(tmp_path, BRATS_MODALITIES)
    assert {name: volume.channel for name, volume in case.images.items()} == {"flair": 0, "t1": 1, "t1c": 2, "t2": 3}


@pytest.mark.parametrize(
    ("case_id", "patient", "release"),
    [
        ("Brats18_TCIA02_370_1", "Brats18_TCIA02_370", "brats2017-2021"),
        ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB", "brats2017-2021"),
        ("BraTS20_Training_001", "BraTS20_Training_001", "brats2017-2021"),
        ("BraTS2021_00002", "BraTS2021_00002", "brats2017-2021"),
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001", "brats2023"),
        ("brats_tcia_pat105_0004", "brats_tcia_pat105", "brats2015"),
    ],
)
def test_patient_is_case_without_time_point(tmp_path, case_id, patient, release):
    touch(tmp_path, *[name.format(c=case_id) for name in LAYOUTS[release]])
    [case] = find_cases(tmp_path, BRATS_MODALITIES)
    assert case.patient_id == patient


def test_forced_release_brings_its_labels_to_other_file_names(tmp_path):
    touch(tmp_path, *[name.format(c="BraTS2021_00002") for name in LAYOUTS["brats2017-2021"]])
    [case] = find_cases(tmp_path, BRATS_MODALITIES, "brats2023")
    assert case.release.label_values[3] == 4
    assert case.images["t1"].path.name == "BraTS2021_00002_t1.nii.gz"


def test_other_modalities(tmp_path):
    touch(tmp_path, "liver1_ct.nii.gz", "liver1_pet.nii.gz", "liver1_seg.nii.gz")
    [case] = find_cases(tmp_path, ("ct", "pet"))
    assert case.release.label_values is None


def test_folder_may_be_the_case_itself(tmp_path):
    touch(tmp_path / "pat_1", *[VSD.format(k, k) for k in ("MR_T1", "OT")])
    [case] = find_cases(tmp_path / "pat_1", BRATS_MODALITIES)
    assert case.case_id == "pat_1"


def test_two_files_for_one_volume_stay_with_the_case(tmp_path):
    touch(tmp_path, "a/x_t1.nii.gz", "b/x_t1.nii.gz")
    [case] = find_cases(tmp_path, BRATS_MODALITIES)
    assert case.images["t1"].path.parent.name == "a"
    assert [(role, path.parent.name) for role, path in case.extra] == [("t1", "b")]


def test_modalities_that_are_not_asked_for_are_no_slip(tmp_path):
    touch(tmp_path, *[name.format(c="x") for name in LAYOUTS["brats2017-2021"]])
    assert search_cases(tmp_path, ("t1",)).problems == []


def test_unused_images_are_told_once_for_each_folder(tmp_path):
    touch(tmp_path, "a/a_t1.nii.gz", *[f"b/image{number}.nii" for number in range(5)], "b/notes.txt")
    [problem] = search_cases(tmp_path, BRATS_MODALITIES).problems
    assert problem.is_warning
    assert str(problem).startswith(
        "Case b, image0.nii, image1.nii, image2.nii and 2 more: not used, because no modality"
    )
    assert "<case>_t1ce.nii.gz" in problem.remedy


def test_many_warnings_are_logged_in_short(tmp_path, caplog):
    touch(tmp_path, "a/a_t1.nii.gz", *[f"b{number}/b_seg.nii" for number in range(15)])
    caplog.set_level("WARNING")
    find_cases(tmp_path, BRATS_MODALITIES)
    assert len(caplog.messages) == 11
    assert caplog.messages[-1] == "And 5 more warnings of this kind."


def write_cases(folder: Path, content: str) -> list[CaseFiles]:
    """Three cases of other data, and a list of their patients."""
    touch(folder, "x1_ct.nii.gz", "x2_ct.nii.gz", "x3_ct.nii.gz")
    (folder / "patients.csv").write_text(content, encoding="utf-8-sig")
    return find_cases(folder, ("ct",))


def test_patients_come_from_a_list(tmp_path):
    cases = write_cases(tmp_path, "case,age,patient\nx1,50, anna\nx3,60,ben\nx2,50,anna\n")
    assert [case.patient_id for case in cases] == ["anna", "anna", "ben"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,patient\nx1,a\n", r"patients.csv lacks 2 of 3 cases \(x2, x3\). Add a row for each"),
        ("case;patient\nx1;a\n", "patients.csv lacks the columns case and patient. Begin it with"),
        ("", "patients.csv lacks the columns"),
        ("case,patient\nx1\n", "row 2: the case or the patient is empty"),
        ("case,patient\nx1,a\nx1,b\n", "row 3: case x1 is of patient a and of b. Delete one row"),
    ],
)
def test_refuses_a_list_of_patients_that_leaves_doubts(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        write_cases(tmp_path, content)


def test_refuses_a_list_of_patients_in_another_encoding(tmp_path):
    (tmp_path / "patients.csv").write_bytes("case,patient\nx1,Jürgen\n".encode("latin-1"))
    touch(tmp_path, "x1_ct.nii.gz")
    with pytest.raises(UserError, match=r"patients.csv cannot be read .*UTF-8"):
        find_cases(tmp_path, ("ct",))


def test_refuses_empty_and_missing_folders_and_unknown_release(tmp_path):
    with pytest.raises(UserError, match="No case found"):
        find_cases(tmp_path, BRATS_MODALITIES)
    with pytest.raises(UserError, match="no folder"):
        find_cases(tmp_path / "none", BRATS_MODALITIES)
    with pytest.raises(UserError, match="Known releases: brats2017-2021"):
        find_cases(tmp_path, BRATS_MODALITIES, "brats1999")
