"""Checks that metrics share."""

import numpy as np


def check_shapes(*arrays: np.ndarray) -> None:
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"Arrays must have equal shapes, got {', '.join(str(a.shape) for a in arrays)}.")


def as_floats(reference: np.ndarray, other: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Both arrays in double precision, after checking that all shapes agree and that the mask is boolean."""
    check_shapes(reference, other, *(() if mask is None else (mask,)))
    if mask is not None and mask.dtype != np.bool_:
        raise ValueError(f"The mask must be boolean (true where it counts), got {mask.dtype}.")
    return reference.astype(np.float64), other.astype(np.float64)
