"""Reads one image file to an array in LPS order: x to the patient's left, y to the back, z to the head.

The format is detected from the content: NIfTI files are read with or without
gzip compression, under any name. A file is read to its end, so that gzip's
checksum is verified.
"""

import contextlib
import dataclasses
import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from isal import isal_zlib

from mmsynth_tf.reading.grids import corner_offset

_log = logging.getLogger(__name__)

# The exceptions that nibabel raised on damaged files.
_DAMAGED = (
    EOFError,
    OSError,
    MemoryError,
    OverflowError,
    ValueError,
    zlib.error,
    isal_zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    nibabel.wrapstruct.WrapStructError,
)
_COPY_AGAIN = "Copy or download it again"
_GZIP_MAGIC = b"\x1f\x8b"
# The largest compression ratio of deflate.
_MOST_EXPANSION = 1032
# Slices of a volume with a larger tilt are not axial, degrees.
_LARGEST_TILT = 20


class VolumeError(ValueError):
    """A file that cannot be read as volumes: the error and its remedy."""

    def __init__(self, text: str, remedy: str):
        super().__init__(f"{text}. {remedy}")
        self.text, self.remedy = text, remedy


@dataclasses.dataclass(frozen=True)
class Oddity:
    """A warning about a readable file, and the remedy if the property is unintended."""

    text: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Image:
    """The content of an image file."""

    array: np.ndarray  # Int or float [x, y, z] or [x, y, z, channel] in LPS order.
    affine: np.ndarray  # float64 [4, 4], from indices to millimetres to the right, the front and the head (NIfTI).
    oddities: tuple[Oddity, ...] = ()


def read_image(path: Path) -> Image:
    """Reads a NIfTI or MetaImage file.

    Raises:
      VolumeError: the file is damaged, is neither three- nor four-dimensional, or has no orientation.
    """
    array, affine, oddities = _read_metaimage(path) if path.suffix.lower() == ".mha" else _read_nifti(path)
    if array.ndim > 3:
        array = array.reshape(array.shape[:3] + tuple(n for n in array.shape[3:] if n > 1))
    if array.ndim not in (3, 4) or 0 in array.shape:
        shape = "x".join(map(str, array.shape))
        raise VolumeError(f"its shape is {shape}, which is no volume", "Give a three-dimensional image")
    if np.issubdtype(array.dtype, np.floating) and array.dtype != np.float32:
        with np.errstate(over="ignore"):  # Values that overflow become infinite, and are then refused.
            array = array.astype(np.float32)
    array, affine = _to_lps(array, affine)
    return Image(array, affine, (*oddities, *_tilt_oddities(affine)))


def read_volumes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array and the affine that `read_image` reads; its warnings are logged.

    Raises:
      VolumeError: as in `read_image`.
    """
    image = read_image(path)
    for oddity in image.oddities:
        _log.warning("%s: %s. %s.", path, oddity.text, oddity.remedy)
    return image.array, image.affine


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray, list[Oddity]]:
    content = _content(path)
    with _damage_as_volume_error():
        is_second = nibabel.Nifti2Header.may_contain_header(content)
        image = (nibabel.Nifti2Image if is_second else nibabel.Nifti1Image).from_bytes(content)
        _require_length(image, len(content))
        oddities = _header_oddities(image)
        array = _voxels(image, content)
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise VolumeError(f"its voxels are of type {array.dtype}", "Convert it to integers or floats")
    return array, image.affine, oddities


def _voxels(image: nibabel.Nifti1Image, content: bytes) -> np.ndarray:
    """The voxels in the unit of the image; a view of the file's content if its header sets no scaling."""
    stored = image.dataobj  # Keeps slope and intercept, which nibabel clears in the header of a loaded image.
    if (stored.slope, stored.inter) == (1.0, 0.0):
        return np.ndarray(image.shape, stored.dtype, content, int(stored.offset), order="F")
    return np.asanyarray(stored)


def _content(path: Path) -> bytes:
    """The whole file, decompressed if needed, which verifies its checksum."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise VolumeError("the file is missing, or a broken link", "Restore it or remove the case") from error
    except PermissionError as error:
        raise VolumeError("no permission to read the file", "Change its permissions") from error
    except OSError as error:
        raise VolumeError(f"the file cannot be read ({error.strerror})", _COPY_AGAIN) from error
    if not content:
        raise VolumeError("the file is empty", _COPY_AGAIN)
    with _damage_as_volume_error():
        return _unpacked(content) if content.startswith(_GZIP_MAGIC) else content


def _unpacked(content: bytes) -> bytes:
    """Decompresses the content of a gzip file.

    Such a file ends with the length of its content. A single buffer of that size takes less than half the time of
    `gzip.decompress`, which remains for files of several parts or without that length.
    """
    length = int.from_bytes(content[-4:], "little")
    if length <= _MOST_EXPANSION * len(content):
        unpacked = isal_zlib.decompress(content, wbits=zlib.MAX_WBITS | 16, bufsize=max(length, 1))
        if len(unpacked) == length:
            return unpacked
    return gzip.decompress(content)


@contextlib.contextmanager
def _damage_as_volume_error() -> Iterator[None]:
    try:
        yield
    except VolumeError:
        raise
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"the file is damaged or cut off ({reason})", _COPY_AGAIN) from error


def _require_length(image: nibabel.Nifti1Image, length: int) -> None:
    """Refuses a file whose length does not match its header, before memory is allocated.

    Raises:
      VolumeError: the file is longer or shorter than its header states.
    """
    voxels = math.prod(map(int, image.shape)) * image.header.get_data_dtype().itemsize
    excess = length - image.dataobj.offset - voxels
    if excess:
        text = f"the file is {abs(excess)} bytes {'longer' if excess > 0 else 'shorter'} than its header says"
        raise VolumeError(text, "Copy or download it again, or check its dimensions and voxel type")


def _header_oddities(image: nibabel.Nifti1Image) -> list[Oddity]:
    header = image.header
    has_sform, has_qform = header["sform_code"] > 0, header["qform_code"] > 0
    if not has_sform and not has_qform:
        text = "its header gives no orientation (the codes of sform and qform are 0)"
        return [Oddity(text, "Its axes are assumed to point left, front and up; correct the header if they do not")]
    if has_sform and has_qform and len(image.shape) >= 3:
        sform, qform, shape = header.get_sform(), header.get_qform(), image.shape[:3]
        if not corner_offset(sform, qform, shape) <= nibabel.affines.voxel_sizes(sform).min() / 2:
            return [Oddity("its sform and qform disagree; the sform is used", "Repair the header if that is wrong")]
    return []


def _read_metaimage(path: Path) -> tuple[np.ndarray, np.ndarray, list[Oddity]]:
    try:
        import SimpleITK
    except ImportError as error:
        raise VolumeError("reading .mha files needs SimpleITK", "Run pip install 'mmsynth_tf[mha]'") from error
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise VolumeError("the file is damaged or cut off", _COPY_AGAIN) from error
    axes = min(image.GetDimension(), 3)  # A file may hold a single slice, or a series.
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (image.GetDimension(), -1))[:axes, :axes]
    affine[:axes, :axes] = direction * image.GetSpacing()[:axes]
    affine[:axes, 3] = image.GetOrigin()[:axes]
    # ITK's millimetres point to the left and to the back, NIfTI's to the right and to the front.
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine, []


def _to_lps(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    volume = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else math.nan
    orientation = nibabel.io_orientation(affine) if 1e-9 < volume < 1e9 else None
    if orientation is None or np.isnan(orientation).any():
        raise VolumeError("its affine gives no orientation", "Repair the header (sform or qform)")
    transform = nibabel.orientations.ornt_transform(orientation, nibabel.orientations.axcodes2ornt("LPS"))
    to_file = nibabel.orientations.inv_ornt_aff(transform, array.shape[:3])
    return nibabel.apply_orientation(array, transform), affine @ to_file


def _tilt_oddities(affine: np.ndarray) -> list[Oddity]:
    """Warns of tilted volumes: slices follow the voxel axes, so they would not be axial."""
    directions = np.diag(affine[:3, :3]) / nibabel.affines.voxel_sizes(affine)
    tilt = math.degrees(math.acos(min(abs(directions).min().item(), 1.0)))
    if tilt <= _LARGEST_TILT:
        return []
    return [Oddity(f"its axes are turned by {tilt:.0f} degrees against the patient's", "Resample it to axial slices")]
