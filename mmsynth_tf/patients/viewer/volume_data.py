"""Packs a case for the page: volumes in LPS order, cropped to the head, downsampled, 8 bits per voxel."""

import base64
import gzip
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients.viewer.files import CaseImages
from mmsynth_tf.reading import grids, labels, problems, scaling, volumes

_log = logging.getLogger(__name__)

# Wider than for training: a viewer should not clip bright tissue.
_PERCENTILES = (0.1, 99.9)
_MARGIN = 2  # Voxels kept around the head.
_MOST_CLASSES = 255


class ViewError(UserError):
    """A case that cannot be shown."""


def pack_case(case: CaseImages, max_size: int) -> dict[str, Any]:
    """Packs a case as JSON values for the page.

    Args:
      case: its files.
      max_size: larger volumes are downsampled to this number of voxels along an axis.

    Returns:
      name: name of the case.
      shape: voxels along x (to the left), y (to the back), z (to the head).
      spacing: voxel size along the same axes, mm.
      affine: [3][4], from these voxels to NIfTI's millimetres (right, anterior, superior).
      start: the voxel to show first, where most of the lesion is.
      images: for each image its name, `low` and `high` (the values that 0 and 255 stand for) and voxels.
      label: None, or the file's class values, their volumes in ml, and voxels (0, or class number from 1).

    Raises:
      ViewError: a file cannot be read, or the files of the case do not lie on one grid.
    """
    images, grid = _read_images(case)
    classes, values = (np.zeros(grid.shape, np.uint8), []) if case.label is None else _read_classes(case, grid)
    ranges = {name: _range(image) for name, image in images.items()}
    seen = np.any([scaling.foreground(image, ranges[name]) for name, image in images.items()], axis=0)
    box = _bounding_box(seen | (classes > 0))
    shape = tuple(min(side.stop - side.start, max_size) for side in box)
    affine, small_classes = grid.affine @ _to_full(box, shape), _shrink_classes(classes[box], shape)
    label = None
    if case.label is not None:
        millilitres = np.bincount(classes.ravel(), minlength=len(values) + 1)[1:] * _voxel_volume(grid.affine)
        label = {"values": values, "volumes": millilitres.round(2).tolist(), "voxels": _pack(small_classes)}
    return {
        "name": case.name,
        "shape": shape,
        "spacing": nibabel.affines.voxel_sizes(affine).round(4).tolist(),
        "affine": affine[:3].round(4).tolist(),
        "start": _start(small_classes),
        "images": [_pack_image(name, image[box], ranges[name], shape) for name, image in images.items()],
        "label": label,
    }


def _read_images(case: CaseImages) -> tuple[dict[str, np.ndarray], grids.Grid]:
    """Reads volumes [x, y, z] by name, one per channel of a stack, and their common grid."""
    images, grid = {}, None
    for name, path in case.images.items():
        image = _read(case, path)
        grid = grid or _grid(image)
        _require_grid(case, path, image, grid)
        images |= {full_name: np.nan_to_num(volume) for full_name, volume in _channels(name, image.array)}
    return images, grid


def _channels(name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if array.ndim == 3:
        yield name, array
    else:
        yield from ((f"{name} {index + 1}", array[..., index]) for index in range(array.shape[3]))


def _read_classes(case: CaseImages, grid: grids.Grid) -> tuple[np.ndarray, list[int]]:
    """Reads the label with its values renumbered from 1, uint8 [x, y, z], and the original values."""
    image = _read(case, case.label)
    _require_grid(case, case.label, image, grid)
    array, oddities = labels.whole_numbers(image.array)
    for oddity in oddities:
        _log.warning("%s: %s. %s.", case.label, oddity.text, oddity.remedy)
    values = np.unique(array[array != 0])
    if image.array.ndim != 3 or values.size > _MOST_CLASSES or (values != np.rint(values)).any():
        text = f"it is no label: it has {image.array.ndim} dimensions and {values.size} different values"
        raise _error(case, case.label, text, "Give one volume with a whole number for each class")
    classes = np.where(array != 0, np.searchsorted(values, array) + 1, 0).astype(np.uint8)
    return classes, values.astype(int).tolist()


def _read(case: CaseImages, path: Path) -> volumes.Image:
    try:
        return volumes.read_image(path)
    except volumes.VolumeError as error:
        raise _error(case, path, error.text, error.remedy) from error


def _grid(image: volumes.Image) -> grids.Grid:
    return grids.Grid(image.array.shape[:3], image.affine)


def _require_grid(case: CaseImages, path: Path, image: volumes.Image, expected: grids.Grid) -> None:
    own = _grid(image)
    if own.shape != expected.shape:
        text = f"its shape {own.shape} differs from {expected.shape} of the first image (axes x, y, z in LPS order)"
        raise _error(case, path, text, "Resample it to the same grid, or view it alone")
    if own.offset(expected) > grids.MISALIGNED:
        text = "its affine differs from that of the first image"
        raise _error(case, path, text, "Register it, repair its header, or view it alone")


def _error(case: CaseImages, path: Path, text: str, remedy: str) -> ViewError:
    return ViewError(str(problems.Problem(case.name, path.name, text, remedy)))


def _range(volume: np.ndarray) -> scaling.IntensityRange:
    try:
        return scaling.measure_range(volume, _PERCENTILES)
    except ValueError:  # The volume has no contrast; show it by its full range.
        low = float(volume.min())
        return scaling.IntensityRange(low, low, max(float(volume.max()), low + 1.0))


def _bounding_box(inside: np.ndarray) -> tuple[slice, ...]:
    """The bounding box of a mask [x, y, z], with a margin; the whole volume if the mask is empty."""
    voxels = np.argwhere(inside) if inside.any() else np.array([[0, 0, 0], np.array(inside.shape) - 1])
    starts = np.maximum(voxels.min(axis=0) - _MARGIN, 0)
    stops = np.minimum(voxels.max(axis=0) + 1 + _MARGIN, inside.shape)
    return tuple(slice(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True))


def _to_full(box: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The affine [4, 4] from downsampled voxels of the box to the file's voxels."""
    factors = [(side.stop - side.start) / size for side, size in zip(box, shape, strict=True)]
    affine = np.diag([*factors, 1.0])
    # Indices refer to voxel centres; the centre of f merged voxels lies (f - 1) / 2 after the first centre.
    affine[:3, 3] = [side.start + (factor - 1) / 2 for side, factor in zip(box, factors, strict=True)]
    return affine


def _voxel_volume(affine: np.ndarray) -> float:
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0


def _start(classes: np.ndarray) -> list[int]:
    """For each axis the index of the slice with most of the lesion, or of the middle slice without one."""
    lesion = classes > 0
    if not lesion.any():
        return [size // 2 for size in classes.shape]
    return [int(np.argmax(lesion.sum(axis=others))) for others in ((1, 2), (0, 2), (0, 1))]


def _pack_image(
    name: str, volume: np.ndarray, intensities: scaling.IntensityRange, shape: tuple[int, ...]
) -> dict[str, Any]:
    voxels = np.rint(255 * _shrink_image(scaling.scale(volume, intensities), shape)).astype(np.uint8)
    return {"name": name, "low": intensities.low, "high": intensities.high, "voxels": _pack(voxels)}


def _shrink_image(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Means over equal boxes: float32 [x, y, z]."""
    for axis, (old, new) in enumerate(zip(volume.shape, shape, strict=True)):
        if new < old:
            volume = np.moveaxis(np.tensordot(_overlaps(old, new), volume, (1, axis)), 0, axis)
    return volume


def _overlaps(old: int, new: int) -> np.ndarray:
    """Overlap of `old` equal parts of a line with `new` equal parts: float32 [new, old], rows sum to 1."""
    edges, parts = np.linspace(0, old, new + 1)[:, None], np.arange(old)
    overlap = np.minimum(edges[1:], parts + 1) - np.maximum(edges[:-1], parts)
    return (np.maximum(overlap, 0) * new / old).astype(np.float32)


def _shrink_classes(classes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The classes at the centres of equal boxes: uint8 [x, y, z]."""
    centres = [((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(classes.shape, shape, strict=True)]
    return classes[np.ix_(*centres)]


def _pack(voxels: np.ndarray) -> str:
    """Voxels uint8 [x, y, z], x fastest, each as its difference (modulo 256) from the last; gzip, base64."""
    line = voxels.ravel(order="F")
    # Fixed time stamp: the same case makes the same page.
    return base64.b64encode(gzip.compress(np.diff(line, prepend=np.uint8(0)).tobytes(), mtime=0)).decode("ascii")
