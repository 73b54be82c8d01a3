"""Changes to the files of a valid case: bytes, headers, voxels, names."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from tests.fakes.fakes_cases import BRATS_2018, BRATS_2023

Mutator = Callable[[Path], None]


def file_of(folder: Path, role: str) -> Path:
    return folder / "a" / f"a{BRATS_2018[role]}.nii.gz"


def content(change: Callable[[bytes], bytes], role: str = "t2") -> Mutator:
    """Changes the bytes of a file."""
    return lambda folder: file_of(folder, role).write_bytes(change(file_of(folder, role).read_bytes()))


def unpacked(change: Callable[[bytes], bytes]) -> Mutator:
    """Changes the bytes of a file below its packing."""
    return content(lambda packed: gzip.compress(change(gzip.decompress(packed))))


def flip_bit(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def saved(image: nibabel.Nifti1Image, path: Path) -> None:
    """Saves an image over the file that its voxels may still have to be read from."""
    nibabel.save(image, path.with_name(f"new_{path.name}"))
    path.with_name(f"new_{path.name}").replace(path)


def image(change: Callable[[nibabel.Nifti1Image], nibabel.Nifti1Image], *roles: str) -> Mutator:
    """Changes the images of some roles, or of T2."""

    def mutate(folder: Path) -> None:
        for role in roles or ("t2",):
            saved(change(nibabel.load(file_of(folder, role))), file_of(folder, role))

    return mutate


def array(change: Callable[[np.ndarray], np.ndarray], *roles: str) -> Mutator:
    """Changes the voxels of some roles, or of T2; the header is made anew."""
    return image(lambda i: nibabel.Nifti1Image(change(np.asarray(i.dataobj)), i.affine), *roles)


def affine(change: Callable[[np.ndarray], np.ndarray], *roles: str) -> Mutator:
    return image(lambda i: nibabel.Nifti1Image(np.asarray(i.dataobj), change(i.affine.copy())), *roles)


def header(change: Callable[[nibabel.Nifti1Header], object], *roles: str) -> Mutator:
    """Changes the headers of some roles, or of T2, and nothing else."""

    def changed(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
        changed_header = source.header.copy()
        change(changed_header)
        return nibabel.Nifti1Image(np.asarray(source.dataobj), None, changed_header)

    return image(changed, *roles)


def header_field(**fields: object) -> Mutator:
    """Writes fields of a header that nibabel would keep in order."""

    def changed(data: bytes) -> bytes:
        raw = nibabel.Nifti1Header(data[:348], check=False)
        for name, value in fields.items():
            raw[name] = value
        return raw.binaryblock + data[348:]

    return unpacked(changed)


def reoriented(axes: str, *roles: str) -> Mutator:
    """Stores the same image with other axes."""

    def turned(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
        wanted = nibabel.orientations.axcodes2ornt(axes)
        return source.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(source.affine), wanted))

    return image(turned, *roles)


def with_voxel(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)
        voxels[5, 8, 3] = value
        return voxels

    return change


def turned(degrees: float, axis: int = 2) -> Callable[[np.ndarray], np.ndarray]:
    """Turns an affine about an axis of the patient."""
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.deg2rad(degrees)
    rotation = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(*angles[::-1]))
    return lambda matrix: rotation @ matrix


def moved(millimetres: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda matrix: matrix + millimetres * np.eye(4, k=3)


def scaled_store(slope: float, inter: float) -> Mutator:
    """Stores the same intensities as other integers with a slope and an intercept."""

    def change(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
        stored = nibabel.Nifti1Image(((np.asarray(source.dataobj) - inter) / slope).astype(np.int16), source.affine)
        stored.header.set_slope_inter(slope, inter)
        return stored

    return image(change)


def packed_as(dtype: type, *roles: str) -> Mutator:
    return array(lambda voxels: voxels.astype(dtype), *roles)


def packed_with_slope(dtype: type, role: str) -> Mutator:
    """Saves floats as integers, for which nibabel chooses slope and intercept."""

    def change(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
        packed = nibabel.Nifti1Image(np.asarray(source.dataobj, np.float64), source.affine)
        packed.set_data_dtype(dtype)
        return packed

    return image(change, role)


def big_endian(source: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    voxels = np.asarray(source.dataobj)
    return nibabel.Nifti1Image(
        voxels.astype(voxels.dtype.newbyteorder(">")), source.affine, nibabel.Nifti1Header(endianness=">")
    )


def half_missing(voxels: np.ndarray) -> np.ndarray:
    voxels = voxels.copy()
    voxels[:, :, 3:] = 0
    return voxels


def with_noise(voxels: np.ndarray) -> np.ndarray:
    """Every other voxel of the air gets a value of 1 to 5."""
    noise = np.arange(voxels.size).reshape(voxels.shape)
    return np.where((voxels == 0) & (noise % 2 == 1), 1 + noise % 5, voxels).astype(np.int16)


def with_ringing(voxels: np.ndarray) -> np.ndarray:
    """Values of 1e-4, positive and negative, up to 3 voxels around the head, which ends before the sides."""
    rim = np.zeros(voxels.shape, bool)
    rim[1:-1, 1:-1] = True
    signs = 1 - 2 * (np.indices(voxels.shape).sum(axis=0) % 2)
    return np.where((voxels == 0) & rim, 1e-4 * signs, voxels).astype(np.float32)


def renamed(new: str, role: str = "t1c") -> Mutator:
    return lambda folder: file_of(folder, role).rename(folder / "a" / new)


def as_release_of_2023(folder: Path) -> None:
    for role, suffix in BRATS_2018.items():
        (folder / "a" / f"a{suffix}.nii.gz").rename(folder / "a" / f"a{BRATS_2023[role]}.nii.gz")


def swapped(folder: Path) -> None:
    first, second, spare = file_of(folder, "t1"), file_of(folder, "t2"), folder / "a" / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


def copied(name: str, role: str = "t2") -> Mutator:
    return lambda folder: shutil.copy(file_of(folder, role), folder / "a" / name)
