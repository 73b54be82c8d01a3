"""Layouts that look like others: they are named, and what is advised leads to the right cases."""

from pathlib import Path

import pytest

from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files
from mmsynth_tf.reading import layouts
from mmsynth_tf.reading.releases import find_cases, search_cases
from tests.fakes.fakes_cases import volumes, write_nifti_case
from tests.reading.odd_names import folders_instead


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_images_in_folders_of_their_names_get_one_message_for_all_cases_and_moving_them_helps(tmp_path):
    for case_id in ("a", "b"):
        write_nifti_case(tmp_path, case_id, volumes())
    folders_instead(tmp_path)
    for path in sorted((tmp_path / "b").iterdir()):
        path.rename(tmp_path / "scratch")
        path.mkdir()
        (tmp_path / "scratch").rename(path / f"00000058_brain{path.name[1:]}")
    with pytest.raises(UserError, match=r"a_t1.nii.gz and 7 more: 10 folders have the names of images"):
        find_cases(tmp_path, BRATS_MODALITIES)
    for folder in [path for path in tmp_path.glob("*/*.nii.gz") if path.is_dir()]:
        [image] = folder.iterdir()
        image.rename(tmp_path / "scratch")
        folder.rmdir()
        (tmp_path / "scratch").rename(folder)
    assert [case.case_id for case in find_cases(tmp_path, BRATS_MODALITIES)] == ["a", "b"]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".img", ".dcm", ".NII.GZ"])
def test_endings_of_images_are_known_whether_they_are_read_or_not(ending):
    assert layouts.is_image(f"a{ending}")
    assert not layouts.is_image(f"a{ending}.txt")


def test_three_names_are_shown_and_how_many_more_there_are():
    assert layouts.some(["a", "b", "c"]) == "a, b, c"
    assert layouts.some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_a_case_folder_with_the_ending_of_an_image_is_read(tmp_path):
    touch(tmp_path, "x.nii/x_t1.nii.gz", "x.nii/x_seg.nii.gz")
    [case] = find_cases(tmp_path, BRATS_MODALITIES)
    assert case.images["t1"].path.name == "x_t1.nii.gz"


def test_cases_of_the_decathlon_may_have_numbers_of_four_digits(tmp_path):
    touch(tmp_path, "imagesTr/x_0000.nii.gz", "labelsTr/x_0000.nii.gz", "imagesTr/y_0001.nii.gz")
    assert [case.case_id for case in find_cases(tmp_path, BRATS_MODALITIES)] == ["x_0000", "y_0001"]


def test_empty_folders_are_named_once_and_also_where_there_is_no_case(tmp_path):
    for name in ("b", "c/deep", "d/e"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"No case found .* b, c, d: 3 folders hold no file. Copy or download"):
        find_cases(tmp_path, BRATS_MODALITIES)
    touch(tmp_path, "a/a_t1.nii.gz", "b/.DS_Store", "d/notes.txt", "__MACOSX/._a_t1.nii.gz")
    [problem] = search_cases(tmp_path, BRATS_MODALITIES).problems
    assert problem.is_warning
    assert "b, c, e: 3 folders hold no file" in str(problem)


BIDS = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_ce-GAD_run-1_T1w.nii.gz", "sub-01/anat/sub-01_seg.nii.gz")


def test_an_image_after_contrast_is_not_taken_for_one_without_and_renaming_as_advised_helps(tmp_path):
    touch(tmp_path, *BIDS)
    found = search_cases(tmp_path, ("T1w",))
    assert [case.images["T1w"].path.name for case in found.cases] == ["sub-01_T1w.nii.gz"]
    [contrast] = [problem for problem in found.problems if "contrast" in problem.text]
    assert "sub-01_ce-GAD_run-1_T1w.nii.gz: not used" in str(contrast)
    (tmp_path / BIDS[1]).rename(tmp_path / "sub-01/anat/sub-01_t1c.nii.gz")
    [case] = find_cases(tmp_path, ("T1w", "t1c"))
    assert [volume.path.name for volume in case.images.values()] == ["sub-01_T1w.nii.gz", "sub-01_t1c.nii.gz"]


def test_a_subject_with_an_image_after_contrast_alone_has_no_case(tmp_path):
    touch(tmp_path, BIDS[1])
    with pytest.raises(UserError, match=r"No case found .* not used, because the name says contrast agent"):
        find_cases(tmp_path, ("T1w",))
    with pytest.raises(UserError, match="does not tell its modality"):
        files.find(tmp_path / BIDS[1], ("T1w",))
    assert files.find(tmp_path / BIDS[1], ("T1w",), "T1w")[0].images.keys() == {"T1w"}


def test_a_modality_may_tell_of_contrast_itself(tmp_path):
    touch(tmp_path, BIDS[0], "sub-01/anat/sub-01_ce-GAD_T1w.nii.gz")
    [case] = find_cases(tmp_path, ("T1w", "ce-GAD_T1w"))
    assert [volume.path.name for volume in case.images.values()] == ["sub-01_T1w.nii.gz", "sub-01_ce-GAD_T1w.nii.gz"]
