import dataclasses
import gzip
import re

import nibabel
import numpy as np
import pytest

from mmsynth_tf.reading import scaling
from mmsynth_tf.reading.cases import CaseError, inspect_case, read_case
from mmsynth_tf.reading.releases import find_cases
from tests.fakes import fakes_cases
from tests.fakes.fakes_cases import BRATS_2023, DATA, LPS_AFFINE, volumes, write_nifti_case


def read(folder, data=DATA, release=None, **options):
    [files] = find_cases(folder, data.modalities, release)
    return read_case(files, data, **options)


def texts(folder, data=DATA):
    [files] = find_cases(folder, data.modalities)
    return [str(problem) for problem in inspect_case(files, data)[1]]


@pytest.mark.parametrize(
    ("suffixes", "values", "release", "classes"),
    [
        (fakes_cases.BRATS_2018, (1, 2, 4), None, [0, 1, 2, 4]),
        (fakes_cases.BRATS_2018, (1, 4), None, [0, 1, 4]),
        (BRATS_2023, (1, 2, 3), None, [0, 1, 2, 4]),
        (fakes_cases.BRATS_2018, (1, 2, 3), "brats2023", [0, 1, 2, 4]),
        (fakes_cases.BRATS_2018, (1, 2, 3), "custom", [0, 1, 2, 3]),
    ],
)
def test_labels_become_canonical(tmp_path, suffixes, values, release, classes):
    write_nifti_case(tmp_path, "a", volumes(values), suffixes)
    case = read(tmp_path, release=release)
    assert case.label.dtype == np.uint8
    assert np.unique(case.label).tolist() == classes


def test_the_configured_median_decides_how_a_case_is_scaled(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    linear = read(tmp_path)
    case = read(tmp_path, dataclasses.replace(DATA, median=0.3))
    for name, image in case.images.items():
        assert linear.ranges[name].power == 1
        inside = scaling.foreground(image, case.ranges[name])
        assert np.median(scaling.scale(image, case.ranges[name])[inside]) == pytest.approx(0.3, abs=0.01)


def test_whole_float_labels_are_accepted(tmp_path):
    arrays = volumes()
    write_nifti_case(tmp_path, "a", arrays | {"label": arrays["label"].astype(np.float32)})
    np.testing.assert_array_equal(read(tmp_path).label, arrays["label"])


def test_decathlon_channels_and_labels(tmp_path):
    arrays = volumes((1, 2, 3))
    stack = np.stack([arrays[name] for name in ("flair", "t1", "t1c", "t2")], axis=-1)
    for folder, array in {"imagesTr": stack, "labelsTr": arrays["label"]}.items():
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(array, LPS_AFFINE), tmp_path / folder / "BRATS_001.nii.gz")
    case = read(tmp_path)
    np.testing.assert_array_equal(case.images["t2"], arrays["t2"])
    np.testing.assert_array_equal(np.unique(case.label), [0, 2, 3, 4])
    assert case.label[arrays["label"] == 1].tolist() == [2] * np.count_nonzero(arrays["label"] == 1)


def test_a_stack_with_too_few_channels_is_refused(tmp_path):
    arrays = volumes((1, 2, 3))
    # The fourth channel of this release is T2.
    stack = np.stack([arrays[name] for name in ("flair", "t1", "t1c")], axis=-1)
    for folder, array in {"imagesTr": stack, "labelsTr": arrays["label"]}.items():
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(array, LPS_AFFINE), tmp_path / folder / "BRATS_001.nii.gz")
    with pytest.raises(CaseError, match="it has only 3 channels"):
        read(tmp_path)


def test_metaimages_of_2015(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    arrays = volumes((1, 2, 3, 4))
    kinds = {"t1": "MR_T1", "t2": "MR_T2", "t1c": "MR_T1c", "flair": "MR_Flair", "label": "OT"}
    for name, kind in kinds.items():
        folder = tmp_path / "brats_2013_pat0001_1" / f"VSD.Brain.XX.O.{kind}.7"
        folder.mkdir(parents=True)
        image = sitk.GetImageFromArray(arrays[name].T)
        image.SetSpacing((1.0, 2.0, 3.0))
        image.SetOrigin((10.0, 20.0, 30.0))
        sitk.WriteImage(image, str(folder / f"{folder.name}.mha"))
    case = read(tmp_path)
    # ITK's identity direction is LPS already.
    np.testing.assert_array_equal(case.images["t1c"], arrays["t1c"])
    np.testing.assert_array_equal(case.label, arrays["label"])
    np.testing.assert_allclose(case.affine, [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("axes", ["RAS", "LPI", "ASL"])
def test_any_orientation_becomes_lps(tmp_path, axes):
    arrays = volumes()
    orientation = nibabel.orientations.axcodes2ornt(axes)
    (tmp_path / "a").mkdir()
    for name, array in arrays.items():
        image = nibabel.Nifti1Image(array, LPS_AFFINE)
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(LPS_AFFINE), orientation)
        nibabel.save(image.as_reoriented(turn), tmp_path / "a" / f"a{fakes_cases.BRATS_2018[name]}.nii.gz")
    case = read(tmp_path)
    np.testing.assert_array_equal(case.images["flair"], arrays["flair"])
    np.testing.assert_array_equal(case.label, arrays["label"])
    np.testing.assert_allclose(case.affine, LPS_AFFINE)


def with_value(array, value, dtype=np.float32):
    array = array.astype(dtype)
    array[5, 8, 3] = value
    return array


BROKEN = {
    "NaN": ({"t2": lambda a: with_value(a, np.nan)}, r"a_t2.*1 voxels are NaN"),
    "infinite label": ({"label": lambda a: with_value(a, np.inf)}, r"a_seg.*NaN or infinite"),
    "shape": ({"flair": lambda a: a[:-1]}, r"a_flair.*shape \(15, 20, 6\) differs from \(16, 20, 6\) of a_t1.nii.gz"),
    "dimensions": ({"t1": lambda a: np.stack([a, a], -1)}, r"a_t1\.nii.*4 dimensions"),
    "plane": ({"t1": lambda a: a[..., 0]}, r"a_t1\.nii.*no volume"),
    "constant": ({"t1c": lambda a: np.full_like(a, 7)}, r"a_t1ce.*constant"),
    "two values": ({"t1c": lambda a: (a > 0).astype(np.int16)}, r"a_t1ce.*no contrast"),
    "unknown label": ({"label": lambda a: with_value(a, 3, np.uint8)}, r"a_seg.*unknown label value 3.*--release"),
    "fractional label": ({"label": lambda a: with_value(a, 1.5)}, r"a_seg.*unknown label value 1.5"),
    "negative label": ({"label": lambda a: with_value(a, -1)}, r"a_seg.*unknown label value -1"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_refuses_broken_volumes(tmp_path, kind):
    changes, message = BROKEN[kind]
    arrays = volumes()
    write_nifti_case(tmp_path, "a", arrays | {name: change(arrays[name]) for name, change in changes.items()})
    with pytest.raises(CaseError, match=f"Case a, {message}"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a_flair.nii.gz", "a_seg.nii.gz"])
def test_refuses_missing_files_unless_allowed(tmp_path, name):
    (write_nifti_case(tmp_path, "a", volumes()) / name).unlink()
    with pytest.raises(CaseError, match=f"Case a, {name}: .* is missing .*--allow_incomplete"):
        read(tmp_path)
    case = read(tmp_path, allow_incomplete=True)
    assert ("flair" not in case.images) if "flair" in name else (case.label is None)


@pytest.mark.parametrize("kept", [0.1, 0.6])
def test_refuses_truncated_gzip(tmp_path, kept):
    path = write_nifti_case(tmp_path, "a", volumes()) / "a_t2.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CaseError, match=r"Case a, a_t2.nii.gz: the file is damaged or cut off .*again"):
        read(tmp_path)


def test_every_damaged_file_is_told(tmp_path):
    folder = write_nifti_case(tmp_path, "a", volumes())
    for name in ("a_t1.nii.gz", "a_seg.nii.gz"):
        (folder / name).write_bytes(b"")
    found = texts(tmp_path)
    assert len(found) == 2 and all("the file is empty" in text for text in found)


@pytest.mark.parametrize(("change", "text"), [(1, "1 bytes longer"), (-1, "1 bytes shorter")])
def test_a_file_that_is_longer_or_shorter_than_its_header_says_is_refused(tmp_path, change, text):
    path = write_nifti_case(tmp_path, "a", volumes()) / "a_t2.nii.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + b"x" if change > 0 else content[:change]))
    with pytest.raises(CaseError, match=rf"a_t2.nii.gz: the file is {text} than its header says"):
        read(tmp_path)


def test_refuses_file_that_is_no_image(tmp_path):
    path = write_nifti_case(tmp_path, "a", volumes()) / "a_t2.nii.gz"
    path.write_bytes(gzip.compress(b"no image"))
    with pytest.raises(CaseError, match=r"a_t2.nii.gz: the file is damaged"):
        read(tmp_path)


def test_refuses_other_affine(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    moved = LPS_AFFINE.copy()
    moved[0, 3] += 3
    write_nifti_case(tmp_path, "a", {"t2": volumes()["t2"]}, affine=moved)
    with pytest.raises(CaseError, match=r"a_t2.*affine differs from that of a_t1.nii.gz, by up to 3.0 voxels"):
        read(tmp_path)


def test_refuses_singular_affine(tmp_path):
    path = write_nifti_case(tmp_path, "a", volumes()) / "a_t1.nii.gz"
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_sform(np.diag([0.0, 1, 1, 1]), code=1)
    nibabel.save(nibabel.Nifti1Image(image.dataobj, None, image.header), path)
    with pytest.raises(CaseError, match=r"a_t1.nii.gz: its affine gives no orientation"):
        read(tmp_path)


def test_refuses_slices_and_crops_outside_the_volume(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    with pytest.raises(CaseError, match=r"6 voxels where the configuration asks for 1 to 7. Set slices"):
        read(tmp_path, dataclasses.replace(DATA, slices=(1, 7, 1)))
    with pytest.raises(CaseError, match=r"Set crop_rows .* 0 to 20"):
        read(tmp_path, dataclasses.replace(DATA, crop_rows=(10, 30)))


def test_refuses_class_beyond_the_configuration(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    with pytest.raises(CaseError, match="class 4 is outside the 2 configured classes"):
        read(tmp_path, dataclasses.replace(DATA, labels=("background", "lesion"), regions={"lesion": (1,)}))


def test_reports_all_problems_at_once(tmp_path):
    arrays = volumes()
    write_nifti_case(tmp_path, "a", arrays | {"t1": with_value(arrays["t1"], np.nan), "t2": arrays["t2"][:, 1:]})
    assert len(texts(tmp_path)) == 2


def half_missing(array):
    array = array.copy()
    array[:, :, 3:] = 0
    return array


ODD = {
    "empty label": ({"label": np.zeros_like}, "the label is empty"),
    "label outside": ({"label": lambda a: np.roll(a, 8, axis=1)}, "of the lesion lies outside the head"),
    "cut off": ({"flair": half_missing}, r"a_flair.*it shows only 50% of the head"),
    "negative": ({"t1": lambda a: np.where(a > 0, a - 50.0, 0).astype(np.float32)}, r"a_t1\.nii.*negative"),
    "no background": ({"t1": lambda a: (a + np.arange(a.size).reshape(a.shape)).astype(np.int32)}, "not constant"),
}


@pytest.mark.parametrize("kind", ODD)
def test_warns_of_odd_but_usable_cases(tmp_path, kind, caplog):
    changes, message = ODD[kind]
    arrays = volumes()
    write_nifti_case(tmp_path, "a", arrays | {name: change(arrays[name]) for name, change in changes.items()})
    caplog.set_level("WARNING")
    read(tmp_path)
    assert any(re.search(f"Case a.*{message}", line) for line in caplog.messages)


def test_good_case_has_no_problems(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    assert texts(tmp_path) == []


def test_real_case(real_cases):
    data = dataclasses.replace(DATA, slices=(50, 105, 1), crop_rows=(0, 240), crop_columns=(0, 240))
    files = find_cases(real_cases, data.modalities)[0]
    case = read_case(files, data)
    assert case.label.shape == case.images["t1"].shape == (240, 240, 155)
    assert set(np.unique(case.label)) <= {0, 1, 2, 4}
