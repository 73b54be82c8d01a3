"""Checks a case's geometry against the settings: its voxel size, and its head and lesion within the crop."""

import dataclasses
import logging
from collections.abc import Iterator

import nibabel
import numpy as np

from mmsynth_tf.configs import DataConfig

_log = logging.getLogger(__name__)

# If two voxel sizes differ relatively by less than this, voxels stay within half a voxel over a whole slice.
SAME_SIZE = 2e-3
# Largest fraction of the head that may lie outside the crop.
LARGEST_SHARE_CUT_OFF = 0.01
# Fraction above which most of the head or lesion is missing, so that the slice shows another image.
_MOST = 0.5
# A rounded head lost 1 % if the section at the volume's edge has this fraction of the largest section's area.
_LARGEST_EDGE_SHARE = 0.1
_SIDES = (((0, "right"), (-1, "left")), ((0, "front"), (-1, "back")))


@dataclasses.dataclass(frozen=True)
class Finding:
    """An unexpected property of the geometry, and its remedy."""

    text: str
    remedy: str
    is_warning: bool = True


def same_sizes(affine: np.ndarray, data: DataConfig) -> bool:
    """Whether voxels have the configured size; `affine` is float64 [4, 4], from indices to mm."""
    return bool(np.allclose(_sizes(affine), data.voxel_mm, rtol=SAME_SIZE, atol=0))


def voxel_finding(affine: np.ndarray, data: DataConfig) -> Finding | None:
    """Compares the voxel size of a volume with `data.voxel_mm`."""
    if same_sizes(affine, data):
        return None
    text = (
        f"its voxels have {_joined(_sizes(affine), ' x ')} mm (between slices, rows and columns) where data.voxel_mm "
        f"is {_joined(data.voxel_mm, ' x ')}"
    )
    own = f"--config.data.voxel_mm={_joined(_sizes(affine), ',')}"
    return Finding(text, f"Resample it to data.voxel_mm, or set {own} if all cases have this size")


def crop_finding(part: np.ndarray, name: str, affine: np.ndarray, data: DataConfig) -> Finding | None:
    """Checks that slices and crop contain the head or the lesion.

    Args:
      part: bool [x, y, z], the head or the lesion.
      name: which of the two it is, for messages; any voxel of a lesion counts.
      affine: float64 [4, 4], from indices to mm.
      data: the slices and the crop, which lie within the volume.
    """
    # Reversed axes follow the memory order.
    used = _used(part, data).T
    whole = np.count_nonzero(used)
    kept = np.count_nonzero(used[:, slice(*data.crop_rows), slice(*data.crop_columns)])
    share = (whole - kept) / max(whole, 1)
    if share <= (LARGEST_SHARE_CUT_OFF if name == "head" else 0):
        return None
    rows, columns = (_extent(used.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    text = (
        f"the crop (rows {_range(data.crop_rows)}, columns {_range(data.crop_columns)}) cuts off {_percent(share)} of "
        f"the {name} in the slices used, which lies in rows {_range(rows)} and columns {_range(columns)}"
    )
    remedy = "Move the head into the crop, or set --config.data.crop_rows and crop_columns (for all cases) to hold it"
    if not same_sizes(affine, data):
        sizes = f"{_joined(_sizes(affine), ' x ')} to {_joined(data.voxel_mm, ' x ')} mm"
        remedy = f"Resample the case from voxels of {sizes} (data.voxel_mm), or set crop and voxel size for all cases"
    return Finding(text, remedy, is_warning=bool(share <= _MOST))


def edge_findings(head: np.ndarray, data: DataConfig) -> Iterator[Finding]:
    """Reports the sides at which the volume ends within the head, bool [x, y, z]."""
    used = _used(head, data)
    for axis, sides in enumerate(_SIDES):
        for index, side in sides:
            shown = np.count_nonzero(used[index] if axis == 0 else used[:, index])
            if shown and shown > _LARGEST_EDGE_SHARE * used.sum(axis=(1 - axis, 2)).max():
                text = f"the volume ends within the head ({side} side), and the part beyond is lost"
                yield Finding(text, "Export, register or resample the images again, with the whole head in the volume")


def pixel_finding(data: DataConfig) -> Finding | None:
    """Checks that the slices have square pixels, as the networks and the random rotations assume."""
    _, row, column = data.spacing_mm
    if abs(row / column - 1) < SAME_SIZE:
        return None
    text = f"pixels are not square after cropping: {row:.4g} mm between rows and {column:.4g} mm between columns"
    (top, bottom), (right, left) = data.crop_rows, data.crop_columns
    size = data.voxel_mm[1] * (bottom - top), data.voxel_mm[2] * (left - right)
    remedy = (
        "Give --config.data.image_size (or crop_rows and crop_columns) the proportion of the crop, which is "
        f"{size[0]:.4g} to {size[1]:.4g} mm"
    )
    return Finding(text, remedy)


def warn_of_pixels(data: DataConfig) -> None:
    """Logs the result of `pixel_finding`, once per data set, because it does not depend on the cases."""
    if finding := pixel_finding(data):
        _log.warning("All cases: %s. %s.", finding.text, finding.remedy)


def _used(volume: np.ndarray, data: DataConfig) -> np.ndarray:
    return volume[:, :, slice(*data.slices)]


def _sizes(affine: np.ndarray) -> np.ndarray:
    """Distances between slices, rows and columns, mm."""
    return nibabel.affines.voxel_sizes(affine)[::-1]


def _extent(present: np.ndarray) -> tuple[int, int]:
    places = np.flatnonzero(present)
    return places[0].item(), places[-1].item() + 1


def _joined(sizes: np.ndarray | tuple[float, ...], between: str) -> str:
    return between.join(f"{size:.4g}" for size in sizes)


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]} to {ends[1]}"


def _percent(share: float) -> str:
    return "less than 1%" if share < 0.01 else f"{share:.0%}"
