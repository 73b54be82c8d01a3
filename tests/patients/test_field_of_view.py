"""Where the slices of a volume lie in the models' field of view, and the way back."""

import dataclasses

import numpy as np
import pytest

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.patients import field_of_view, patient
from mmsynth_tf.reading.releases import find_cases
from mmsynth_tf.reading.slicing import slice_examples
from tests.fakes import fakes_cases

SIZES = (1.0, 1.0)
DATA = DataConfig(crop_rows=(2, 34), crop_columns=(4, 32), image_size=(32, 28))


def head(shape, centre, radii):
    grid = np.indices(shape).astype(float)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) < 1


def textured(inside):
    """A head whose brightness changes slowly, in [0.3, 0.9]; float32 [x, y, z]."""
    x, y, z = np.indices(inside.shape) / np.array(inside.shape)[:, None, None, None]
    return np.where(inside, 0.6 + 0.3 * np.sin(2 * x + 3 * y + z), 0).astype(np.float32)


def test_slices_on_the_training_grid_are_those_of_training(tmp_path):
    fakes_cases.write_nifti_case(tmp_path, "a", fakes_cases.volumes())
    data = dataclasses.replace(fakes_cases.DATA, crop_rows=(2, 18), crop_columns=(2, 14), image_size=(8, 6))
    [files] = find_cases(tmp_path, data.modalities)
    one = patient.read(files, data)
    made = one.slices("t2")[slice(*data.slices)]
    expected = np.stack([example["image"]["t2"][..., 0] for example in slice_examples(one.case, data)])
    np.testing.assert_array_equal(made.astype(np.float16), expected)


def test_the_way_back_is_exact_where_no_pixel_is_resized():
    inside = head((36, 40, 5), (18, 18, 2), (10, 12, 9))
    volume = textured(inside)
    view = field_of_view.find(inside, SIZES, DATA)
    assert (view.columns.start, view.rows.start) == (4, 2)
    np.testing.assert_array_equal(view.image_volume(view.image_slices(volume), inside), volume)


def test_a_head_that_the_crop_would_cut_is_moved_by_whole_voxels():
    inside = head((60, 40, 5), (42, 18, 2), (10, 12, 9))
    volume = textured(inside)
    view = field_of_view.find(inside, SIZES, DATA)
    assert (view.columns.start, view.columns.step) == (28, 1)  # 42 - 27 / 2 to the nearest even whole number.
    np.testing.assert_array_equal(view.image_volume(view.image_slices(volume), inside), volume)


def test_a_head_within_the_training_crop_stays_where_it_is():
    inside = head((36, 40, 5), (20, 19, 2), (8, 10, 9))
    view = field_of_view.find(inside, SIZES, DATA)
    assert (view.columns.start, view.rows.start) == (4, 2)


def test_a_volume_that_ends_before_the_crop_is_centred():
    # 30 rows where the crop ends at 34; (14, 18) - (31, 27) / 2, to the nearest even whole numbers.
    inside = head((36, 30, 5), (18, 14, 2), (10, 10, 9))
    view = field_of_view.find(inside, SIZES, DATA)
    assert (view.columns.start, view.rows.start) == (4, -2)


@pytest.mark.parametrize("voxels", [(0.5, 0.5), (0.8, 1.3), (2.0, 1.0), (1.0, 3.0)])
def test_other_voxel_sizes_come_back_within_the_error_of_interpolation(voxels):
    shape = (int(36 / voxels[0]), int(40 / voxels[1]), 4)
    inside = head(shape, (shape[0] / 2 + 2, shape[1] / 2 - 1, 2), (11 / voxels[0], 13 / voxels[1], 9))
    volume = textured(inside)
    view = field_of_view.find(inside, voxels, DATA)
    slices = view.image_slices(volume)
    assert slices.shape == (4, 32, 28)
    # The head's area in mm² is kept.
    assert (slices > 0).sum() == pytest.approx(inside.sum() * np.prod(voxels), rel=0.06)
    back = view.image_volume(slices, inside)
    np.testing.assert_array_equal(back > 0, inside)
    np.testing.assert_allclose(back[inside], volume[inside], atol=0.06)
    assert np.abs(back - volume)[inside].mean() < 0.012


def test_shrunk_slices_come_back_without_a_dark_rim():
    inside = head((36, 40, 5), (18, 18, 2), (10, 12, 9))
    volume = np.where(inside, np.float32(0.8), np.float32(0))
    data = dataclasses.replace(DATA, image_size=(8, 7))
    view = field_of_view.find(inside, SIZES, data)
    np.testing.assert_allclose(view.image_volume(view.image_slices(volume), inside), volume, rtol=1e-6)


def test_volume_smaller_than_the_crop_is_padded():
    inside = np.ones((10, 12, 3), bool)
    volume = np.full((10, 12, 3), np.float32(0.5))
    view = field_of_view.find(inside, SIZES, DATA)
    slices = view.image_slices(volume)
    assert (slices > 0).sum() == volume.size
    np.testing.assert_array_equal(view.image_volume(slices, inside), volume)


def test_what_the_field_of_view_does_not_hold_is_black():
    inside = np.ones((80, 20, 2), bool)
    view = field_of_view.find(inside, SIZES, DATA)
    back = view.image_volume(view.image_slices(inside.astype(np.float32)), inside)
    assert view.share_cut_off(inside) == pytest.approx(1 - 28 / 80)
    assert (back > 0).sum() == 28 * 20 * 2


def test_labels_go_to_the_nearest_voxel_and_come_back():
    label = np.zeros((36, 40, 3), np.uint8)
    label[10:20, 8:16, 1] = 3
    view = field_of_view.training_view(label.shape, DATA)
    slices = view.label_slices(label)
    np.testing.assert_array_equal(slices[1], label[4:32, 2:34, 1].T)
    assert not slices[[0, 2]].any()
    np.testing.assert_array_equal(np.rint(view.to_volume(slices.astype(float))), label)


def test_label_outside_the_volume_is_background():
    label = np.ones((10, 12, 1), np.uint8)
    view = field_of_view.find(label > 0, SIZES, DATA)
    assert view.label_slices(label).sum() == label.size


def test_centres_of_large_pixels_lie_between_those_of_voxels():
    # Two pixels over four voxels: the centres of the voxels are at -0.25, 0.25, 0.75 and 1.25 pixels.
    axis = field_of_view.Axis(voxels=4, start=0, step=1.0, crop=4, pixels=2)
    np.testing.assert_allclose(axis.to_volume, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
