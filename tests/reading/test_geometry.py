"""Geometry of cases: what is said, and that what the messages advise leads to a case without messages."""

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.ndimage

from mmsynth_tf.configs import DataConfig, presets
from mmsynth_tf.reading import geometry
from mmsynth_tf.reading.cases import CaseError, inspect_case, read_case
from mmsynth_tf.reading.releases import find_cases
from tests.fakes.fakes_cases import DATA, LPS_AFFINE, volumes, write_nifti_case

# The head of the fakes has columns 3 to 13 and rows 4 to 17, the lesion columns 4 to 10 and rows 6 to 10.
CROPPED = dataclasses.replace(DATA, crop_rows=(2, 18), crop_columns=(2, 14), image_size=(16, 12))


def moved(pixels: int) -> dict[str, np.ndarray]:
    """The fakes with the head moved to the left, in volumes with 8 more columns."""
    padded = {role: np.pad(array, ((0, 8), (0, 0), (0, 0))) for role, array in volumes().items()}
    return {role: np.roll(array, pixels, axis=0) for role, array in padded.items()}


def problems_of(folder: Path, data: DataConfig) -> dict[str, bool]:
    """Text of each problem, and whether it is a warning."""
    [files] = find_cases(folder, data.modalities)
    return {str(problem): problem.is_warning for problem in inspect_case(files, data)[1]}


def test_a_crop_that_holds_the_head_is_no_problem(tmp_path):
    write_nifti_case(tmp_path, "a", moved(0))
    assert problems_of(tmp_path, CROPPED) == {}


def test_a_crop_that_cuts_off_some_of_the_head_is_a_warning(tmp_path):
    # Columns 7 to 17 of which the crop ends at 14: 3 of 10 are lost. The lesion ends at 14.
    write_nifti_case(tmp_path, "a", moved(4))
    [(text, is_warning)] = problems_of(tmp_path, CROPPED).items()
    assert is_warning
    assert text.startswith(
        "Case a, a_t1.nii.gz: the crop (rows 2 to 18, columns 2 to 14) cuts off 30% of the head in the slices used, "
        "which lies in rows 4 to 17 and columns 7 to 17. Move the head into the crop"
    )


def test_a_crop_that_cuts_off_any_of_the_lesion_is_a_warning(tmp_path):
    # A head that is lost to 4 of 10 columns, and a lesion to 1 of 6.
    write_nifti_case(tmp_path, "a", moved(5))
    found = problems_of(tmp_path, CROPPED)
    assert all(found.values())
    assert "Case a, a_seg.nii.gz: the crop (rows 2 to 18, columns 2 to 14) cuts off 17% of the lesion" in "".join(found)


def test_one_voxel_of_a_lesion_is_told_whatever_its_share():
    lesion = np.zeros((20, 20, 8), bool)
    lesion[3:13, 3:17] = True
    lesion[15, 10, 3] = True
    finding = geometry.crop_finding(lesion, "lesion", LPS_AFFINE, CROPPED)
    assert finding.is_warning
    assert "cuts off less than 1% of the lesion" in finding.text


@pytest.mark.parametrize(
    ("outside", "is_warning", "said"), [(1, None, ""), (2, True, "2% of the head"), (50, True, ""), (51, False, "51%")]
)
def test_a_crop_may_cut_off_a_hundredth_of_the_head_and_warns_up_to_half(outside, is_warning, said):
    """100 voxels of slice 2, in rows 2 to 12 and columns 2 to 12; the crop ends where some of them lie."""
    head = np.zeros((16, 20, 6), bool)
    head[2:12, 2:12, 2] = True
    moved_out = np.argwhere(head)[:outside]
    head[tuple(moved_out.T)] = False
    head[14 + np.arange(outside) % 2, np.arange(outside) // 2 % 18, 1 + np.arange(outside) // 36] = True
    assert np.count_nonzero(head) == 100
    finding = geometry.crop_finding(head, "head", LPS_AFFINE, dataclasses.replace(CROPPED, crop_rows=(0, 20)))
    assert (finding and finding.is_warning) is is_warning
    assert finding is None or said in finding.text


def test_an_empty_label_is_not_cut_off():
    assert geometry.crop_finding(np.zeros((16, 20, 6), bool), "lesion", LPS_AFFINE, CROPPED) is None


@pytest.mark.parametrize(("size", "same"), [(1.0019, True), (0.9981, True), (1.0021, False), (0.9979, False)])
def test_sizes_that_differ_by_two_thousandths_are_the_same(size, same):
    """Over 240 voxels that is half a voxel."""
    for axis in range(3):
        sizes = np.ones(4)
        sizes[axis] = size
        assert geometry.same_sizes(LPS_AFFINE @ np.diag(sizes), DATA) == same
    wide = dataclasses.replace(DATA, voxel_mm=(1.0, 1.0, size))
    assert (geometry.pixel_finding(wide) is None) == same


def test_a_crop_that_cuts_off_most_refuses_the_case_and_moving_it_back_helps(tmp_path):
    # 6 of 10 columns of the head are lost.
    write_nifti_case(tmp_path, "a", moved(7))
    [files] = find_cases(tmp_path, CROPPED.modalities)
    with pytest.raises(CaseError, match=r"cuts off 60% of the head .* columns 10 to 20\. Move the head into the crop"):
        read_case(files, CROPPED)
    wider = dataclasses.replace(CROPPED, crop_columns=(8, 24), crop_rows=(2, 18), image_size=(16, 16))
    assert problems_of(tmp_path, wider) == {}
    write_nifti_case(tmp_path, "a", moved(0))
    assert problems_of(tmp_path, CROPPED) == {}


def test_what_lies_in_slices_that_are_not_used_does_not_count(tmp_path):
    arrays = moved(0)
    for array in arrays.values():
        array[:, :, 5] = np.roll(array[:, :, 5], 7, axis=0)  # Slices 1 to 4 are used.
    write_nifti_case(tmp_path, "a", arrays)
    assert problems_of(tmp_path, CROPPED) == {}


def test_finer_voxels_are_refused_and_resampling_them_helps(tmp_path):
    """A case of half the voxel size: the crop shows the first quarter of it."""
    fine = {role: array.repeat(2, axis=0).repeat(2, axis=1) for role, array in volumes().items()}
    affine = LPS_AFFINE @ np.diag([0.5, 0.5, 1, 1])
    write_nifti_case(tmp_path, "a", fine, affine=affine)
    with pytest.raises(CaseError, match=r"Resample the case from voxels of 1 x 0.5 x 0.5 to 1 x 1 x 1 mm"):
        read_case(find_cases(tmp_path, DATA.modalities)[0], CROPPED)
    assert any("where data.voxel_mm is 1 x 1 x 1" in text for text in problems_of(tmp_path, CROPPED))
    for role, array in fine.items():
        fine[role] = scipy.ndimage.zoom(array, (0.5, 0.5, 1), order=0)
    write_nifti_case(tmp_path, "a", fine)
    assert problems_of(tmp_path, CROPPED) == {}
    case = read_case(find_cases(tmp_path, DATA.modalities)[0], CROPPED)
    np.testing.assert_array_equal(case.label, volumes()["label"])


def test_finer_voxels_in_all_cases_are_a_setting(tmp_path):
    affine = LPS_AFFINE @ np.diag([0.46875, 0.46875, 1, 1])
    write_nifti_case(tmp_path, "a", volumes(), affine=affine)
    [text] = problems_of(tmp_path, DATA)
    assert "--config.data.voxel_mm=1,0.4688,0.4688 if all" in text
    assert problems_of(tmp_path, dataclasses.replace(DATA, voxel_mm=(1.0, 0.4688, 0.4688))) == {}


def test_headers_that_are_rounded_are_of_the_same_size(tmp_path):
    write_nifti_case(tmp_path, "a", volumes(), affine=LPS_AFFINE @ np.diag([1.0005, 0.9999, 1, 1]))
    assert problems_of(tmp_path, DATA) == {}


@pytest.mark.parametrize(
    ("axis", "pixels", "side"), [(0, 6, "left"), (0, -6, "right"), (1, 7, "back"), (1, -8, "front")]
)
def test_a_head_that_leaves_the_volume_is_told_with_the_side(axis, pixels, side):
    head = np.roll(volumes()["t1"] > 0, pixels, axis)
    rim = np.s_[:6] if pixels > 0 else np.s_[-8:]
    head[(slice(None),) * axis + (rim,)] = False
    [finding] = geometry.edge_findings(head, DATA)
    assert finding.is_warning
    assert f"({side} side)" in finding.text


def test_a_head_that_touches_the_edge_is_whole():
    """A ball in a volume of its width touches each side with a few voxels."""
    places = np.indices((41, 41, 41)) - 20
    ball = (places**2).sum(axis=0) <= 20**2
    data = dataclasses.replace(DATA, slices=(0, 41, 1))
    assert ball[0].any()
    assert list(geometry.edge_findings(ball, data)) == []
    assert len(list(geometry.edge_findings(ball[5:], data))) == 1


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_have_square_pixels(name):
    assert geometry.pixel_finding(presets.preset(name).data) is None


def test_pixels_that_are_not_square_are_a_warning_and_the_advice_makes_them_square():
    narrow = dataclasses.replace(DATA, crop_rows=(0, 20), crop_columns=(0, 10), image_size=(20, 20))
    finding = geometry.pixel_finding(narrow)
    assert finding.is_warning
    assert "1 mm between rows and 0.5 mm between columns" in finding.text
    assert "20 to 10 mm" in finding.remedy
    assert geometry.pixel_finding(dataclasses.replace(narrow, image_size=(20, 10))) is None
    flat = dataclasses.replace(narrow, voxel_mm=(1.0, 1.0, 2.0))
    assert geometry.pixel_finding(flat) is None


def test_real_cases_have_no_problems(real_cases):
    data = DataConfig()
    for files in find_cases(real_cases, data.modalities)[:3]:
        for settings in (data, presets.preset("cpu").data):
            assert inspect_case(files, settings)[1] == []


def test_patients_of_any_size_are_read_for_models(tmp_path):
    write_nifti_case(tmp_path, "a", volumes(), affine=LPS_AFFINE @ np.diag([2.0, 2, 2, 1]))
    [files] = find_cases(tmp_path, DATA.modalities)
    case, problems = inspect_case(
        files, dataclasses.replace(DATA, slices=(1, 99, 1), crop_rows=(0, 99)), for_slices=False
    )
    assert problems == []
    assert nibabel.affines.voxel_sizes(case.affine).tolist() == [2, 2, 2]
