"""Voxel grids of volumes, and whether two grids coincide."""

import dataclasses
import math
from collections.abc import Mapping

import nibabel
import numpy as np

# Largest distance of corners of aligned volumes, in voxels; rounding in headers is smaller.
ALIGNED = 0.01
# At this distance of corners, in voxels, two volumes show different voxels.
MISALIGNED = 0.4


@dataclasses.dataclass(frozen=True)
class Grid:
    """Shape (x, y, z) of a volume, and its affine, float64 [4, 4], from indices to millimetres."""

    shape: tuple[int, ...]
    affine: np.ndarray

    def offset(self, other: "Grid") -> float:
        """The largest distance between corresponding corners of two grids, in voxels; infinite if the shapes differ."""
        if self.shape != other.shape:
            return math.inf
        offset = corner_offset(self.affine, other.affine, self.shape)
        return offset / nibabel.affines.voxel_sizes(other.affine).min().item()


def corner_offset(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance between a volume's corners under two affines, mm."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    distance = nibabel.affines.apply_affine(first, corners) - nibabel.affines.apply_affine(second, corners)
    return np.linalg.norm(distance, axis=1).max().item()


def commonest_grid(grids: Mapping[str, Grid]) -> str:
    """The name of the grid with which most grids agree; the first one in a tie."""
    return max(grids, key=lambda name: sum(grids[name].offset(other) < MISALIGNED for other in grids.values()))
