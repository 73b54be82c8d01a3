"""Results lie on their input in every orientation; files are found and named."""

import itertools

import nibabel
import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, jobs, lesions, translate
from mmsynth_tf.reading import release_table
from mmsynth_tf.reading.release_table import RELEASES
from tests.fakes import fake_slice_models

MODELS = fake_slice_models.slice_models()
ORIENTATIONS = [
    codes
    for order in itertools.permutations(("RL", "AP", "SI"))
    for codes in ("".join(letters) for letters in itertools.product(*order))
]
# A slight rotation, as scanners give; LPS.
TILT = np.array([[0.995, -0.0998, 0.0], [0.0998, 0.995, 0.0], [0.0, 0.0, 1.0]])


def lps_volume(shape=(28, 32, 9)):
    """A textured head, int16, that fills the range from 1 to 1000 and takes its extremes; [x, y, z] in LPS order."""
    x, y, z = np.indices(shape)
    inside = np.hypot((x - 14) / 11, (y - 16) / 13) < 1
    values = 1 + (7 * x + 11 * y + 5 * z) % 1000
    return np.where(inside, values, 0).astype(np.int16)


def oriented(volume, codes, voxel_sizes=(1.0, 1.0, 2.5)):
    """The volume as an image whose axes run as the codes say, at the same place."""
    lps = np.eye(4)
    lps[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ TILT @ np.diag(voxel_sizes)
    lps[:3, 3] = 90.0, 120.0, -70.0
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(codes)
    )
    affine = lps @ nibabel.orientations.inv_ornt_aff(turn, volume.shape)
    return nibabel.Nifti1Image(nibabel.apply_orientation(volume, turn), affine)


def translate_file(path, output, **settings):
    cases = files.find(path, MODELS.data.modalities, "t1")
    job = translate.Translate(MODELS, targets=("flair",), smooth=False, **settings)
    jobs.for_each(cases, output, job)
    [made] = output.rglob("*.nii.gz")
    return made


def expected(volume):
    """The scaling to [0, 1] of `scaling`, by hand."""
    low, high = np.percentile(volume[volume > 0], (0.5, 99.5))
    return np.where(volume > 0, np.clip((volume - low) / (high - low), 1 / 256, 1), 0)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_output_of_the_identity_lies_on_the_input(tmp_path, codes):
    image = oriented(lps_volume(), codes)
    assert "".join(nibabel.aff2axcodes(image.affine)) == codes
    nibabel.save(image, tmp_path / "scan.nii.gz")
    made = nibabel.load(translate_file(tmp_path / "scan.nii.gz", tmp_path / "out"))
    assert made.shape == image.shape
    np.testing.assert_array_equal(made.affine, nibabel.load(tmp_path / "scan.nii.gz").affine)
    np.testing.assert_allclose(made.get_fdata(), expected(image.get_fdata()), atol=1e-6)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_another_reader_sees_the_same_geometry(tmp_path, codes):
    itk = pytest.importorskip("SimpleITK")
    nibabel.save(oriented(lps_volume(), codes), tmp_path / "scan.nii.gz")
    made = itk.ReadImage(str(translate_file(tmp_path / "scan.nii.gz", tmp_path / "out")))
    scan = itk.ReadImage(str(tmp_path / "scan.nii.gz"))
    assert made.GetSize() == scan.GetSize()
    for read in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(made, read)(), getattr(scan, read)(), atol=1e-5)
    values = itk.GetArrayFromImage(scan)
    np.testing.assert_allclose(itk.GetArrayFromImage(made), expected(values), atol=1e-6)


@pytest.mark.parametrize("codes", ["RAS", "SRP", "AIL"])
def test_anisotropic_voxels_come_back_within_the_error_of_interpolation(tmp_path, codes):
    x, y, z = np.indices((40, 20, 9))
    inside = np.hypot((x - 17) / 12, (y - 10) / 7) < 1
    volume = np.where(inside, 500 + 10 * x + 8 * y + z, 0).astype(np.int16)
    image = oriented(volume, codes, voxel_sizes=(0.9, 1.6, 4.0))
    nibabel.save(image, tmp_path / "scan.nii.gz")
    made = nibabel.load(translate_file(tmp_path / "scan.nii.gz", tmp_path / "out"))
    reference = expected(image.get_fdata())
    np.testing.assert_array_equal(made.get_fdata() > 0, reference > 0)
    np.testing.assert_allclose(made.get_fdata(), reference, atol=0.05)


def test_header_keeps_its_forms_and_loses_its_texts(tmp_path):
    image = oriented(lps_volume(), "RAS")
    image.set_sform(image.affine, code=4)
    image.set_qform(image.affine, code=1)
    image.header["descrip"] = b"Jane Doe"
    image.header["cal_max"] = 4000
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nibabel.save(image, tmp_path / "scan.nii.gz")
    header = nibabel.load(translate_file(tmp_path / "scan.nii.gz", tmp_path / "out")).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 1)
    assert "Not for clinical use" in str(header["descrip"])
    assert not header.extensions
    assert header["cal_max"] == 0


def test_packed_file_without_the_ending_of_one_is_read(tmp_path):
    nibabel.save(oriented(lps_volume(), "RAS"), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.nii.gz").rename(tmp_path / "scan.nii")
    assert nibabel.load(translate_file(tmp_path / "scan.nii", tmp_path / "out")).shape == (28, 32, 9)


def test_metaimage_gives_nifti_at_the_same_place(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    nibabel.save(oriented(lps_volume(), "RAS"), tmp_path / "scan.nii.gz")
    scan = itk.ReadImage(str(tmp_path / "scan.nii.gz"))
    itk.WriteImage(scan, str(tmp_path / "scan.mha"))
    made = nibabel.load(translate_file(tmp_path / "scan.mha", tmp_path / "out"))
    corner = nibabel.affines.apply_affine(made.affine, [[0, 0, 0], [27, 31, 8]])
    original = nibabel.load(tmp_path / "scan.nii.gz").affine
    np.testing.assert_allclose(corner, nibabel.affines.apply_affine(original, [[27, 31, 0], [0, 0, 8]]), atol=1e-4)


def test_integers_when_a_range_is_asked_for(tmp_path):
    nibabel.save(oriented(lps_volume(), "RAS"), tmp_path / "scan.nii.gz")
    made = nibabel.load(translate_file(tmp_path / "scan.nii.gz", tmp_path / "out", largest=4095))
    assert made.get_data_dtype() == np.int16
    assert made.get_fdata().max() == 4095
    assert made.get_fdata().min() == 0


def test_modality_is_taken_from_the_name_of_a_file(tmp_path):
    for name in ("p1_t1ce.nii.gz", "p1-t2f.nii.gz", "p1.nii.gz", "p1_t1.txt"):
        (tmp_path / name).touch()
    found = {
        name: files.find(tmp_path / name, MODELS.data.modalities)[0] for name in ("p1_t1ce.nii.gz", "p1-t2f.nii.gz")
    }
    assert {name: (case.case_id, list(case.images)) for name, case in found.items()} == {
        "p1_t1ce.nii.gz": ("p1", ["t1c"]),
        "p1-t2f.nii.gz": ("p1", ["flair"]),
    }
    assert files.image_name(found["p1-t2f.nii.gz"], "t1c") == "p1-t1c.nii.gz"
    with pytest.raises(UserError, match=r"does not tell its modality.*--modality=t1\|t2"):
        files.find(tmp_path / "p1.nii.gz", MODELS.data.modalities)
    with pytest.raises(UserError, match="neither NIfTI nor MetaImage"):
        files.find(tmp_path / "p1_t1.txt", MODELS.data.modalities)
    with pytest.raises(UserError, match="do not know --modality=pd"):
        files.find(tmp_path / "p1.nii.gz", MODELS.data.modalities, "pd")
    with pytest.raises(UserError, match="There is no file or folder"):
        files.find(tmp_path / "p2.nii.gz", MODELS.data.modalities)


def test_label_codes_of_releases():
    labels = MODELS.data.labels
    assert files.label_codes("canonical", labels) is None
    assert files.label_codes("brats2015", labels) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    # Necrotic core and non-enhancing tumour are one class in the later releases and in the Decathlon.
    assert files.label_codes("brats2017-2021", labels) == {0: 0, 1: 1, 2: 2, 3: 1, 4: 4}
    assert files.label_codes("brats2023", labels) == {0: 0, 1: 1, 2: 2, 3: 1, 4: 3}
    assert files.label_codes("decathlon", labels) == {0: 0, 1: 2, 2: 1, 3: 2, 4: 3}
    with pytest.raises(UserError, match="have no values in brats2023"):
        files.label_codes("brats2023", ("background", "lesion"))


def test_every_release_that_can_be_asked_for_has_a_code_for_every_class():
    names = release_table.with_lesion_values()
    assert set(RELEASES) - set(names) == {"custom", "brats-men-rt"}
    for name in names:
        assert set(files.label_codes(name, MODELS.data.labels).values()) <= set(RELEASES[name].label_values)


def test_label_is_written_in_the_codes_asked_for(tmp_path):
    label = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    grid = files.FileGrid((5, 1, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    files.save_label(label, grid, tmp_path / "seg.nii.gz", files.label_codes("brats2023", MODELS.data.labels))
    image = nibabel.load(tmp_path / "seg.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert image.get_fdata().ravel().tolist() == [0, 1, 2, 1, 3]


def test_grid_of_a_stack_is_that_of_its_volumes(tmp_path):
    image = oriented(lps_volume(), "RAS")
    stack = nibabel.Nifti1Image(np.stack([image.get_fdata()] * 4, axis=-1), image.affine)
    nibabel.save(stack, tmp_path / "stack.nii.gz")
    grid = files.FileGrid.of(tmp_path / "stack.nii.gz")
    assert grid.shape == image.shape
    assert grid.image(lps_volume(), "x").shape == image.shape


@pytest.mark.parametrize("name", ["anonymous_t1.nii.gz", "anonymous.nii.gz"])
def test_a_file_that_is_a_link_keeps_the_name_it_was_given(tmp_path, name):
    (tmp_path / "jane_doe_t1.nii.gz").touch()
    (tmp_path / name).symlink_to("jane_doe_t1.nii.gz")
    [case] = files.find(tmp_path / name, MODELS.data.modalities, "t1")
    assert case.case_id == "anonymous"


@pytest.mark.parametrize("name", ["Scan.NII.GZ", "Scan.Nii", "Scan.MHA", "Scan_T1.NII.GZ"])
def test_capitals_in_the_name_of_a_single_file_are_taken(tmp_path, name):
    (tmp_path / name).touch()
    [case] = files.find(tmp_path / name, MODELS.data.modalities, "t1")
    assert case.case_id == "Scan"
    assert list(case.images) == ["t1"]


def test_a_single_file_with_capitals_is_translated(tmp_path):
    nibabel.save(oriented(lps_volume(), "RAS"), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.nii.gz").rename(tmp_path / "Scan.NII.GZ")
    assert translate_file(tmp_path / "Scan.NII.GZ", tmp_path / "out").parent.name == "Scan"


def test_the_release_of_a_label_that_is_a_link_follows_from_the_name_it_was_given(tmp_path):
    (tmp_path / "jane_doe.nii.gz").touch()
    (tmp_path / "anonymous_seg.nii.gz").symlink_to("jane_doe.nii.gz")
    assert lesions.find(tmp_path / "anonymous_seg.nii.gz") == lesions.find(tmp_path)
