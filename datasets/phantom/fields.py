"""Smooth random fields."""

import numpy as np


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], knot_distance: float) -> np.ndarray:
    """A random field that varies over about `knot_distance` voxels.

    A cubic B-spline through random coefficients. It is separable, so that it
    costs one small matrix product an axis.

    Returns:
      float32 [*shape], mean about 0 and standard deviation about 1.
    """
    bases = [_spline_basis(size, knot_distance) for size in shape]
    field = rng.standard_normal([basis.shape[1] for basis in bases]).astype(np.float32)
    for basis in bases:
        # Contracts the first axis and appends the result's, so that after all axes the order is restored.
        field = np.tensordot(field, basis, axes=(0, 1))
    return field


def _spline_basis(size: int, knot_distance: float) -> np.ndarray:
    """Values of the cubic B-splines at each voxel, scaled to unit variance on average; float32 [size, splines]."""
    position = np.arange(size)[:, None] / knot_distance
    distance = np.abs(position - np.arange(-1, int(size / knot_distance) + 3))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    basis = np.where(distance < 1, inner, outer)
    return (basis / np.sqrt((basis**2).sum(axis=1).mean())).astype(np.float32)
