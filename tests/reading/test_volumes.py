"""Voxel values as `read_image` returns them, against two other readers of the same file."""

import gzip

import nibabel
import numpy as np
import pytest

from mmsynth_tf.patients import files
from mmsynth_tf.reading.cases import read_case
from mmsynth_tf.reading.releases import find_cases
from mmsynth_tf.reading.volumes import read_image
from tests.fakes.fakes_cases import DATA, LPS_AFFINE, volumes, write_nifti_case

STORED = np.arange(24).reshape(2, 3, 4)
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float32", "float64")
SCALINGS = [(1.0, 0.0), (2.0, 0.0), (1.0, -10.0), (0.5, 0.25), (-1.0, 0.0), (-3.0, 7.0), (1.0, 5.0)]


def stored_with(path, dtype, slope, inter, voxels=STORED):
    """Writes voxels as they are under a header with slope and intercept."""
    image = nibabel.Nifti1Image(voxels.astype(dtype), LPS_AFFINE, dtype=dtype)
    content = bytearray(image.to_bytes())
    # Bytes 112 to 119 of a NIfTI header are scl_slope and scl_inter, float32.
    content[112:120] = np.array([slope, inter], np.float32).tobytes()
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize(("slope", "inter"), SCALINGS)
def test_values_are_those_of_nibabel_and_simpleitk(tmp_path, dtype, slope, inter):
    path = stored_with(tmp_path / "a.nii.gz", dtype, slope, inter)
    array = read_image(path).array
    np.testing.assert_array_equal(array, slope * STORED + inter)
    np.testing.assert_array_equal(array, nibabel.load(path).get_fdata())
    sitk = pytest.importorskip("SimpleITK")
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T)


@pytest.mark.parametrize(("slope", "inter"), [(0.0, 5.0), (np.nan, np.nan), (1.0, 0.0)])
def test_a_header_that_scales_nothing_leaves_the_number_type(tmp_path, slope, inter):
    array = read_image(stored_with(tmp_path / "a.nii", "int16", slope, inter)).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, STORED)


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32"])
def test_floats_that_nibabel_packs_as_integers_come_back(tmp_path, dtype, kind, endianness):
    voxels = np.linspace(-2.5, 7.5, 24).reshape(2, 3, 4)
    image = kind(voxels, LPS_AFFINE, kind.header_class(endianness=endianness))
    image.set_data_dtype(dtype)
    nibabel.save(image, tmp_path / "a.nii.gz")
    array = read_image(tmp_path / "a.nii.gz").array
    np.testing.assert_allclose(array, nibabel.load(tmp_path / "a.nii.gz").get_fdata(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(array, voxels, atol=10 / 255)


@pytest.mark.parametrize(("slope", "inter"), [(2.0, 0.0), (0.5, -3.0), (-1.0, 40.0)])
def test_a_label_stored_with_a_slope_has_its_own_classes(tmp_path, slope, inter):
    arrays = volumes((2, 4))
    folder = write_nifti_case(tmp_path, "a", arrays)
    stored_with(folder / "a_seg.nii.gz", "int16", slope, inter, (arrays["label"] - inter) / slope)
    [found] = find_cases(tmp_path, DATA.modalities)
    np.testing.assert_array_equal(read_case(found, DATA).label, arrays["label"])


def test_an_image_with_a_negative_slope_is_not_inverted(tmp_path):
    arrays = volumes()
    folder = write_nifti_case(tmp_path, "a", arrays)
    stored_with(folder / "a_t1.nii.gz", "int16", -1.0, 0.0, -arrays["t1"])
    [found] = find_cases(tmp_path, DATA.modalities)
    case = read_case(found, DATA)
    np.testing.assert_array_equal(case.images["t1"], arrays["t1"])
    assert case.ranges["t1"].low > 0


def test_what_is_written_on_the_grid_of_a_scaled_file_is_not_scaled(tmp_path):
    path = stored_with(tmp_path / "a.nii.gz", "int16", -2.0, 5.0)
    grid = files.FileGrid.of(path)
    label = (STORED % 5).astype(np.uint8)
    files.save_label(label, grid, tmp_path / "label.nii.gz")
    files.save_image(STORED / 24, grid, tmp_path / "image.nii.gz", largest=240)
    np.testing.assert_array_equal(read_image(tmp_path / "label.nii.gz").array, label)
    np.testing.assert_array_equal(read_image(tmp_path / "image.nii.gz").array, 10 * STORED)
