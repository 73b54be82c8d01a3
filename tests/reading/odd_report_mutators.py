"""Changes to a valid case that make the situations of public reports."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from tests.fakes.fakes_cases import BRATS_2018, LPS_AFFINE, volumes, write_nifti_case
from tests.reading.odd_mutators import (
    Mutator,
    array,
    as_release_of_2023,
    file_of,
    header_field,
    image,
    renamed,
    reoriented,
    saved,
)
from tests.reading.odd_names import case_renamed

# The modalities on the fourth axis of a file of the Decathlon.
DECATHLON = ("flair", "t1", "t1c", "t2")
_VSD = {"t1": "MR_T1", "t2": "MR_T2", "t1c": "MR_T1c", "flair": "MR_Flair", "label": "OT"}


def label_value(old: int, new: float, dtype: type) -> Mutator:
    """Gives a class of the label another value."""
    return array(lambda a: np.where(a == old, dtype(new), a.astype(dtype)), "label")


def label_under_slope(slope: float) -> Mutator:
    """Stores the label in 8 bits under a slope."""

    def change(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
        stored = nibabel.Nifti1Image(np.rint(np.asarray(source.dataobj) / slope).astype(np.uint8), source.affine)
        stored.header.set_slope_inter(slope, 0)
        return stored

    return image(change, "label")


def binary_label_saved_as_floats(folder: Path) -> None:
    """Leaves one class, loads the label as floats and saves it under a header of integers: it gets a slope."""
    array(lambda a: np.where(a == 4, a, 0), "label")(folder)
    path = file_of(folder, "label")
    source = nibabel.load(path)
    edited = nibabel.Nifti1Image(source.get_fdata(), source.affine, source.header)
    edited.set_data_dtype(np.uint16)
    saved(edited, path)
    values = np.asarray(nibabel.load(path).dataobj)
    assert 0 < abs(values.max() - 4) < 1e-6


def with_mean_of_two_classes(labels: np.ndarray) -> np.ndarray:
    """A voxel between classes 2 and 4 gets their mean, as linear interpolation gives it."""
    changed = labels.copy()
    changed[7, 7, 3] = (2 + 4) // 2
    return changed


def with_enhancing_tumour_as_3(folder: Path) -> None:
    label_value(4, 3, np.uint8)(folder)
    as_release_of_2023(folder)


def as_decathlon(folder: Path) -> None:
    """One file with all modalities, and a label with the Decathlon's values (1 oedema, 2 core, 3 enhancing)."""
    arrays = {role: np.asarray(nibabel.load(file_of(folder, role)).dataobj) for role in BRATS_2018}
    shutil.rmtree(folder / "a")
    stack = np.stack([arrays[modality] for modality in DECATHLON], -1)
    values = np.array([0, 2, 1, 0, 3], np.uint8)[arrays["label"]]
    for name, voxels in (("imagesTr", stack), ("labelsTr", values)):
        (folder / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(voxels, LPS_AFFINE), folder / name / "BRATS_001.nii.gz")


def in_int64(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.asarray(source.dataobj).astype(np.int64), source.affine, dtype=np.int64)


def overflown(voxels: np.ndarray) -> np.ndarray:
    """The brightest tenth exceeds the largest integer of 16 bits and starts again from the smallest."""
    return (voxels.astype(np.int64) * 32767 // int(np.percentile(voxels, 90))).astype(np.int16)


def at_origin(matrix: np.ndarray) -> np.ndarray:
    """The first voxel lies at 0, 0, 0."""
    return np.vstack([np.column_stack([matrix[:3, :3], np.zeros(3)]), matrix[3]])


def sheared(matrix: np.ndarray) -> np.ndarray:
    """The axes meet at angles a little off 90 degrees."""
    return matrix + np.array([[0, 0.002, 0, 0], [0, 0, 0.001, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def with_factor_of_qform(folder: Path) -> None:
    """The axes are left-handed, and the factor of the qform says that they are right-handed."""
    reoriented("LAS")(folder)
    header_field(pixdim=[1] * 8, qform_code=1, sform_code=1)(folder)


def in_micrometres(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    changed = nibabel.Nifti1Image(np.asarray(source.dataobj), np.diag([1000.0, 1000, 1000, 1]) @ source.affine)
    changed.header.set_xyzt_units("micron")
    return changed


def as_metaimages(case_id: str, change: Callable[[str, np.ndarray], np.ndarray] = lambda role, a: a) -> Mutator:
    """The layout of BraTS 2015; `change` gets a role and its voxels [x, y, z]."""

    def mutate(folder: Path) -> None:
        import SimpleITK

        for role, kind in _VSD.items():
            voxels = change(role, np.asarray(nibabel.load(file_of(folder, role)).dataobj))
            written = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
            # ITK's millimetres point to the left and to the back: LPS_AFFINE in them.
            written.SetOrigin((0, -19, 0)[: voxels.ndim])
            name = f"VSD.Brain.XX.O.{kind}.1"
            (folder / case_id / name).mkdir(parents=True)
            SimpleITK.WriteImage(written, str(folder / case_id / name / f"{name}.mha"))
        shutil.rmtree(folder / "a")

    return mutate


def one_slice_of_t2(role: str, voxels: np.ndarray) -> np.ndarray:
    return voxels[:, :, 3] if role == "t2" else voxels


def unpacked_files(folder: Path) -> None:
    for role in BRATS_2018:
        path = file_of(folder, role)
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def text_instead(text: str) -> Mutator:
    return lambda folder: file_of(folder, "t2").write_text(text)


def in_folder(name: str) -> Mutator:
    def mutate(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / "a").rename(folder / name / "a")

    return mutate


def as_links_to_keys(folder: Path) -> None:
    """Each file becomes a link to one whose name says nothing of it."""
    store = folder.with_name("store")
    store.mkdir()
    for number, role in enumerate(BRATS_2018):
        path, key = file_of(folder, role), store / f"MD5E-s1--{number:032x}.nii.gz"
        path.rename(key)
        path.symlink_to(key)


def with_dangling_sidecar(folder: Path) -> None:
    (folder / "a" / "a_t1.json").symlink_to("../.git/annex/objects/MD5E-s1--0.json")


def with_resource_forks(folder: Path) -> None:
    """What macOS packs beside each file."""
    (folder / "__MACOSX" / "a").mkdir(parents=True)
    for suffix in BRATS_2018.values():
        (folder / "__MACOSX" / "a" / f"._a{suffix}.nii.gz").write_bytes(b"\x00\x05\x16\x07" + bytes(200))


misnamed = renamed("a_flair_1.nii.gz", "flair")


def in_train_and_test(folder: Path) -> None:
    shutil.copytree(folder / "a", folder / "test" / "a")
    in_folder("train")(folder)


def mirrored() -> dict[str, np.ndarray]:
    """Another case's volumes."""
    return {name: voxels[::-1] for name, voxels in volumes().items()}


def with_case_of_other_site(folder: Path) -> None:
    in_folder("site_1")(folder)
    write_nifti_case(folder / "site_2", "a", mirrored())


def with_second_scan(folder: Path) -> None:
    case_renamed("Brats18_P23_1")(folder)
    write_nifti_case(folder, "brats18_p23_2", mirrored())


def listed(text: str, encoding: str = "utf-8") -> Mutator:
    """Names the case 0506 and writes a list of patients."""

    def mutate(folder: Path) -> None:
        case_renamed("0506")(folder)
        (folder / "patients.csv").write_bytes(text.encode(encoding))

    return mutate
