"""What is told about backgrounds, and that what the messages advise makes the head the head."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from mmsynth_tf.reading import background, scaling
from mmsynth_tf.reading.cases import inspect_case
from mmsynth_tf.reading.releases import find_cases
from tests.fakes.fakes_cases import DATA, LPS_AFFINE, volumes, write_nifti_case
from tests.reading.odd_mutators import with_noise, with_ringing


def texts(folder, arrays, data=DATA, affine=LPS_AFFINE):
    write_nifti_case(folder, "a", arrays, affine=affine)
    return [str(problem) for problem in inspect_case(find_cases(folder, data.modalities)[0], data)[1]]


@pytest.mark.parametrize("change", [with_ringing, with_noise])
def test_one_image_with_a_bad_background_is_told_alone(tmp_path, change):
    """The heads of the others are not too small, and nothing is negative."""
    arrays = volumes()
    [text] = texts(tmp_path, arrays | {"t2": change(arrays["t2"])})
    assert text.startswith("Case a, a_t2.nii.gz")


def test_ringing_of_all_images_is_told_for_each_and_that_the_crop_is_unknown(tmp_path):
    *found, crop = texts(tmp_path, {r: with_ringing(a) if r != "label" else a for r, a in volumes().items()})
    assert len(found) == 4
    assert all("spline resampling" in text for text in found)
    assert "Case a, a_t1.nii.gz: no image of the case separates head and background, so the crop was not" in crop


@pytest.mark.parametrize("change", [with_ringing, with_noise])
def test_a_crop_that_cuts_off_most_of_the_head_is_found_once_one_background_is_as_advised(tmp_path, change):
    """The head has columns 3 to 13, of which the crop keeps 3; the lesion lies there."""
    narrow = dataclasses.replace(DATA, crop_columns=(3, 6), image_size=(20, 3))
    arrays = volumes((1,))
    changed = {role: change(array) if role != "label" else array for role, array in arrays.items()}
    assert texts(tmp_path, changed, narrow)[-1].endswith(
        "the crop was not compared with the head. Correct the backgrounds as the other messages say, then run "
        "--check again."
    )
    masked = np.where(arrays["t1"] > 0, changed["t1"], 0)
    found = texts(tmp_path, changed | {"t1": masked}, narrow)
    assert any("cuts off 70% of the head" in text for text in found)
    assert not any("not compared" in text for text in found)


def test_a_mask_as_advised_leaves_the_head(tmp_path):
    arrays = volumes()
    ringing = with_ringing(arrays["t2"])
    assert "Mask everything outside the head with 0" in texts(tmp_path, arrays | {"t2": ringing})[0]
    masked = np.where(arrays["t1"] > 0, ringing, 0)
    assert texts(tmp_path, arrays | {"t2": masked}) == []
    np.testing.assert_array_equal(masked, arrays["t2"])


def test_what_a_cubic_spline_leaves_is_found_and_linear_interpolation_leaves_nothing():
    """A head of 16 of 64 voxels, moved by half a voxel with the spline that most programs use."""
    volume = np.zeros((64, 64, 9), np.float32)
    volume[24:40, 24:40] = 500 + np.arange(256).reshape(16, 16)[..., None]
    cubic, linear = (scipy.ndimage.shift(volume, (0.5, 0.5, 0), order=order) for order in (3, 1))
    intensities, head = scaling.measure(cubic, (0.5, 99.5))
    assert np.count_nonzero(head) > 2 * np.count_nonzero(volume)
    assert "spline" in background.oddity(cubic, intensities, head).text
    intensities, head = scaling.measure(linear, (0.5, 99.5))
    assert background.oddity(linear, intensities, head) is None
    # Half a voxel more on each side.
    assert np.count_nonzero(head) == 17 * 17 * 9


def test_overshoot_of_a_spline_is_not_told_as_negative_values(tmp_path):
    arrays = volumes()
    ringing = with_ringing(arrays["t2"])
    ringing[2, 4:17] = -3
    [text] = texts(tmp_path, arrays | {"t2": ringing})
    assert "spline" in text


def oddity_of(volume):
    """What is said of a volume whose values reach from 0 to 1000, and whose background is 0."""
    return background.oddity(volume, scaling.IntensityRange(0.0, 0.0, 1000.0), volume != 0)


@pytest.mark.parametrize(("tiny", "is_told"), [(5, False), (6, True)])
@pytest.mark.parametrize("value", [0.99, -0.99])
def test_a_twentieth_of_the_head_may_lie_near_the_background(tiny, is_told, value):
    """Rows 0 and 4 of 100 voxels each are looked at; 1 is a thousandth of the range, and no longer near."""
    volume = np.zeros((102, 7, 2), np.float32)
    volume[1:101, [4]] = 500.0
    volume[1 : tiny + 1, 4] = value
    volume[101 - 50 : 101, 4] = 1.0
    assert (oddity_of(volume) is not None) == is_told


@pytest.mark.parametrize(("further", "is_told"), [(0.0, False), (1.0, True)])
def test_a_head_may_cover_a_quarter_of_the_sides(further, is_told):
    """50 of four sides of 50 voxels, none of them at a corner, which belongs to two sides; then one more."""
    volume = np.zeros((25, 25, 2), np.float32)
    volume[0, 1:24] = volume[-1, 1:3] = 500.0
    volume[12, 0, 0] = further
    assert (oddity_of(volume) is not None) == is_told


@pytest.mark.parametrize(("inside", "is_told"), [(95, False), (96, True)])
def test_a_head_may_fill_95_of_100_parts_of_its_volume(inside, is_told):
    volume = np.zeros((202, 102, 1), np.float32)
    share = np.zeros((200, 100), bool)
    share.ravel()[: int(inside / 100 * volume.size)] = True
    volume[1:-1, 1:-1, 0][share] = 500.0
    assert (oddity_of(volume) is not None) == is_told


@pytest.mark.parametrize(("litres", "is_told"), [(2.29, False), (2.31, True)])
def test_a_brain_has_up_to_2_3_litres(litres, is_told):
    head = np.ones((10, 10, 10), bool)
    affine = LPS_AFFINE @ np.diag([-((litres * 1e3) ** (1 / 3))] * 3 + [1])
    assert (background.skull_oddity(head, affine) is not None) == is_told


@pytest.mark.parametrize("value", [0.0, -1000.0])
def test_z_scored_heads_have_many_values_near_zero_and_are_no_ringing(rng, value):
    volume = np.full((32, 32, 8), value, np.float32)
    volume[8:24, 8:24] = rng.normal(size=(16, 16, 8))
    intensities, head = scaling.measure(volume, (0.5, 99.5))
    assert background.oddity(volume, intensities, head) is None


def test_noise_in_the_air_goes_when_the_outside_is_set_to_zero_as_advised(tmp_path):
    noisy = {role: with_noise(array) if role != "label" else array for role, array in volumes().items()}
    found = [text for text in texts(tmp_path, noisy) if "the crop was not compared" not in text]
    assert len(found) == 4
    assert all("without skull stripping. Strip the skull and set everything outside" in text for text in found)
    brain = volumes()["t1"] > 0
    assert texts(tmp_path, {r: np.where(brain, a, 0) if r != "label" else a for r, a in noisy.items()}) == []


def test_a_head_with_its_skull_in_constant_air_is_told_by_its_size(tmp_path):
    """520 voxels in the fakes' head, of 17.58^3 mm^3 and 13 slices by 10 by 6: 4.2 litres."""
    affine, data = LPS_AFFINE @ np.diag([17.58] * 3 + [1]), dataclasses.replace(DATA, voxel_mm=(17.58,) * 3)
    found = texts(tmp_path, volumes(), data, affine)
    assert len(found) == 4
    assert "its head has 4.2 litres, more than a brain" in found[0]
    organs = dataclasses.replace(data, labels=("background", "a", "b", "c", "d"))
    assert not any("litres" in text for text in texts(tmp_path, volumes(), organs, affine))


def test_a_brain_beside_heads_with_skull_is_not_cut_off(tmp_path):
    """The brain is half of the others' heads."""
    affine, data = LPS_AFFINE @ np.diag([17.58] * 3 + [1]), dataclasses.replace(DATA, voxel_mm=(17.58,) * 3)
    arrays = volumes()
    arrays["t2"][8:] = 0
    arrays["label"][8:] = 0
    found = texts(tmp_path, arrays, data, affine)
    assert len(found) == 3
    assert not any("a_t2" in text or "cut off" in text for text in found)
