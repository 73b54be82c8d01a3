"""Nearest-neighbour search that is invariant to mirroring, rotation, scale, shift and contrast (method §8).

Slices are first moved to a common pose by their heads. There the energies of detail are compared at all angles with one
matrix product. The few nearest slices are then aligned to the pixel (`alignment.refined`).
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mmsynth_tf.metrics import alignment
from mmsynth_tf.metrics.alignment import Details
from mmsynth_tf.metrics.nearest import Closeness, CopyCheck

# Twice the largest rotation of the augmentation (`AugmentationConfig`), because a slice may be augmented twice.
_ANGLES = np.deg2rad(np.arange(-30, 31, 5))
_MIRRORS = (1.0, -1.0)
_OFFSETS = (-0.05, 0.0, 0.05)  # Share of the head's radius; corrects inexact poses from the masks.
_GRID = 24  # Side of a slice in the common pose, pixels; the head's radius is _RADIUS of it.
_RADIUS = 0.42
_NEAREST, _OTHER_PATIENTS = 5, 3  # Slices aligned to the pixel: the nearest, and one each of other patients.
_BATCH = 32
# Planted copies are below this fraction of the smallest distance to another patient (docs/experiments/copy_audit.md).
_NEAR = 0.8


@dataclasses.dataclass(frozen=True)
class Found:
    """The nearest reference slices of N queries.

    Attributes:
      closeness: distances and ratios; the distance is 1 minus the correlation of the aligned details, in [0, 1].
      index: int [N], of the nearest reference slice.
      matrix: float32 [N, 3, 3], from the reference slice's pixels to the query's, at most `alignment.SIDE` a side.
    """

    closeness: Closeness
    index: np.ndarray
    matrix: np.ndarray

    @property
    def mirrored(self) -> np.ndarray:
        """bool [N]."""
        return np.linalg.det(self.matrix[:, :2, :2]) < 0

    @property
    def turned(self) -> np.ndarray:
        """Rotation, degrees, float [N]."""
        return np.rad2deg(np.arctan2(-self.matrix[:, 0, 1], self.matrix[:, 1, 1]))


def check_copies(found: Closeness, chance: Closeness) -> CopyCheck:
    """Checks slices by the distances of `AlignedSearch`; `chance` is the closeness of real slices to other patients."""
    return CopyCheck(found, chance, _NEAR)


class AlignedSearch:
    """Finds the nearest of M reference slices.

    Args:
      reference: slices to search.
      patients: patient id of each of these slices.
    """

    def __init__(self, reference: Details, patients: Sequence[str]):
        self._reference, self._patients = reference, np.array(patients)
        poses = itertools.product(_ANGLES, _MIRRORS)
        self._poses = np.stack([_to_pose(reference.head, angle, mirror) for angle, mirror in poses])
        self._turned = np.concatenate([_in_pose(reference, matrices) for matrices in self._poses]).T

    def nearest(self, queries: Details, patients: Sequence[str] | None = None) -> Found:
        """Finds the nearest reference slice of each query.

        Args:
          queries: N slices.
          patients: patient id of each query; slices of the same patient are excluded. None searches all.

        Raises:
          ValueError: all reference slices are of the query's own patient.
        """
        own = np.zeros((len(queries), len(self._patients)), bool)
        if patients is not None:
            own = np.array(patients)[:, None] == self._patients
        if own.all(axis=1).any():
            raise ValueError(
                "There is no slice of another patient to compare with. Give training data of at least two patients."
            )
        parts = [
            self._nearest(queries[start : start + _BATCH], own[start : start + _BATCH])
            for start in range(0, len(queries), _BATCH)
        ]
        distance, ratio, index, matrix = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Found(Closeness(distance, ratio), index, matrix)

    def _nearest(self, queries: Details, own: np.ndarray) -> tuple[np.ndarray, ...]:
        likeness, matrices = self._coarse(queries)
        likeness[own] = -np.inf
        rows = [self._candidates(line) for line in likeness]
        query, index = np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)
        found, matrix = alignment.refined(queries[query], self._reference[index], matrices(query, index))
        return tuple(np.array(column) for column in zip(*self._best(query, index, found, matrix), strict=True))

    def _coarse(self, queries: Details):
        """Similarity of the energies in the common pose, [N, M], and a function that gives the alignment of pairs."""
        count, size = len(queries), len(self._patients)
        best, pose = np.full((count, size), -np.inf, np.float32), np.zeros((count, size), int)
        tries = [_to_pose(queries.head, 0.0, 1.0, (x, y)) for x in _OFFSETS for y in _OFFSETS]
        for number, moved in enumerate(tries):
            products = (_in_pose(queries, moved) @ self._turned).reshape(count, -1, size)
            own_pose = products.argmax(axis=1)
            own_best = np.take_along_axis(products, own_pose[:, None], axis=1)[:, 0]
            better = own_best > best
            best[better], pose[better] = own_best[better], (own_pose + number * len(self._poses))[better]

        def matrices(query: np.ndarray, index: np.ndarray) -> np.ndarray:
            number, turn = np.divmod(pose[query, index], len(self._poses))
            return np.stack(tries)[number, query] @ np.linalg.inv(self._poses[turn, index])

        return best, matrices

    def _candidates(self, likeness: np.ndarray) -> list[int]:
        """Slices to align: the nearest ones, and the nearest slice of some further patients."""
        order = [number for number in np.argsort(-likeness) if np.isfinite(likeness[number])]
        _, firsts = np.unique(self._patients[order], return_index=True)
        others = [order[first] for first in np.sort(firsts)[1 : 1 + _OTHER_PATIENTS]]
        return list(dict.fromkeys([*order[:_NEAREST], *others]))

    def _best(self, query: np.ndarray, index: np.ndarray, found: np.ndarray, matrix: np.ndarray):
        for number in range(query[-1] + 1):
            own = np.flatnonzero(query == number)
            first = own[found[own].argmax()]
            other = self._patients[index[own]] != self._patients[index[first]]
            distance = 1 - min(1.0, found[first])
            next_distance = 1 - found[own][other].max() if other.any() else 0.0
            yield distance, distance / next_distance if next_distance > 0 else 1.0, index[first], matrix[first]


def _to_pose(head: np.ndarray, angle: float, mirror: float, offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Matrices [N, 3, 3] from pixels in the common pose to those of slices with heads [N, H, W]."""
    y, x = np.mgrid[: head.shape[1], : head.shape[2]]
    area = np.maximum(head.sum(axis=(1, 2)), 1)
    radius = np.sqrt(area / np.pi)
    centre = np.stack([np.sum(head * place, axis=(1, 2)) / area for place in (x, y)], axis=1)
    centre = centre + radius[:, None] * np.array(offset)
    return alignment.similarities(
        radius / (_RADIUS * _GRID), np.float32(angle), np.float32(mirror), centre, [(_GRID - 1) / 2] * 2
    )


def _in_pose(slices: Details, matrices: np.ndarray) -> np.ndarray:
    """Energies in the common pose with mean 0 and length 1, float32 [N, _GRID²]."""
    moved = alignment.warped(slices.energy, matrices, (_GRID, _GRID)).reshape(len(slices), -1)
    moved = moved - moved.mean(axis=1, keepdims=True)
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
