"""Reads one image file to an array in LPS order: x to the patient's left, y to the back, z to the head."""

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

_DAMAGED = (EOFError, OSError, zlib.error, gzip.BadGzipFile, nibabel.filebasedimages.ImageFileError, ValueError)


class VolumeError(ValueError):
    """A file that cannot be read as volumes: what is wrong, and the remedy."""

    def __init__(self, text: str, remedy: str):
        super().__init__(f"{text}. {remedy}")
        self.text, self.remedy = text, remedy


def read_volumes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a NIfTI or MetaImage file.

    Returns:
      The voxels, int or float [x, y, z] or [x, y, z, channel] in LPS order, and the affine [4, 4] from their
      indices to millimetres in NIfTI's coordinates (right, anterior, superior).

    Raises:
      VolumeError: the file is damaged, or neither three- nor four-dimensional, or has no orientation.
    """
    array, affine = _read_metaimage(path) if path.suffix == ".mha" else _read_nifti(path)
    if array.ndim > 3:
        array = array.reshape(array.shape[:3] + tuple(n for n in array.shape[3:] if n > 1))
    if array.ndim not in (3, 4) or 0 in array.shape:
        shape = "x".join(map(str, array.shape))
        raise VolumeError(f"its shape is {shape}, which is no volume", "Give a three-dimensional image")
    return _to_lps(array, affine)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except FileNotFoundError as error:
        raise VolumeError("the file is gone", "Restore it or remove the case") from error
    except PermissionError as error:
        raise VolumeError("no permission to read the file", "Change its permissions") from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"the file is damaged or cut off ({reason})", "Copy or download it again") from error
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise VolumeError(f"its voxels are of type {array.dtype}", "Convert it to integers or floats")
    return array.astype(np.float32) if array.dtype == np.float64 else array, image.affine


def _read_metaimage(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import SimpleITK
    except ImportError as error:
        raise VolumeError("reading .mha files needs SimpleITK", "Run pip install 'mmsynth_tf[mha]'") from error
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise VolumeError("the file is damaged or cut off", "Copy or download it again") from error
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (image.GetDimension(), -1))[:3, :3] * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    # ITK's millimetres point to the left and to the back, NIfTI's to the right and to the front.
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


def _to_lps(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    singular = not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9
    orientation = None if singular else nibabel.io_orientation(affine)
    if orientation is None or np.isnan(orientation).any():
        raise VolumeError("its affine gives no orientation", "Repair the header (sform or qform)")
    transform = nibabel.orientations.ornt_transform(orientation, nibabel.orientations.axcodes2ornt("LPS"))
    to_file = nibabel.orientations.inv_ornt_aff(transform, array.shape[:3])
    return nibabel.apply_orientation(array, transform), affine @ to_file
