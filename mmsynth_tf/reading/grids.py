"""Where the voxels of a volume lie, and whether those of two volumes lie in the same places."""

import dataclasses
import math
from collections.abc import Mapping

import nibabel
import numpy as np

# The farthest apart, in voxels, that corners of aligned volumes lie: headers are rounded, but not by more.
ALIGNED = 0.01
# Volumes whose corners lie this far apart show different voxels.
MISALIGNED = 0.4


@dataclasses.dataclass(frozen=True)
class Grid:
    """Shape (x, y, z) of a volume, and its affine, float64 [4, 4], from indices to millimetres."""

    shape: tuple[int, ...]
    affine: np.ndarray

    def offset(self, other: "Grid") -> float:
        """The farthest that a corner of this grid lies from the other's, in voxels; infinite if the shapes differ."""
        if self.shape != other.shape:
            return math.inf
        offset = corner_offset(self.affine, other.affine, self.shape)
        return offset / nibabel.affines.voxel_sizes(other.affine).min().item()


def corner_offset(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """The farthest that two affines put a corner of a volume apart, mm."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    distance = nibabel.affines.apply_affine(first, corners) - nibabel.affines.apply_affine(second, corners)
    return np.linalg.norm(distance, axis=1).max().item()


def commonest_grid(grids: Mapping[str, Grid]) -> str:
    """The name of the grid that most of the grids agree with; the first of several."""
    return max(grids, key=lambda name: sum(grids[name].offset(other) < MISALIGNED for other in grids.values()))
