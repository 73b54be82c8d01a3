"""Distances between the surfaces of two masks, in 2-D and 3-D, with the definitions of DeepMind's surface-distance.

Surface elements lie on the corners between voxels and are weighted by length or
area (Nikolov et al., 2018, arXiv:1809.04430). The tables of element sizes and
the measures come from the library. The distances are computed here: the released
library's function fails with NumPy 1.24 to 1.26 (`np.bool`) and, when one mask is
empty, with NumPy 2 (`np.Inf`).
"""

from collections.abc import Sequence

import numpy as np
import surface_distance
from scipy import ndimage
from surface_distance import lookup_tables

SurfaceDistances = dict[str, np.ndarray]

# Kernel that encodes a corner's neighbourhood, and table of element sizes, by number of dimensions.
_TABLES = {
    2: (lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL, lookup_tables.create_table_neighbour_code_to_contour_length),
    3: (lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL, lookup_tables.create_table_neighbour_code_to_surface_area),
}


def hausdorff_distance(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], percentile: float = 95.0
) -> float:
    """Larger of the two directed percentiles of surface distance, mm (HD95 by default).

    Args:
      reference: bool [H, W] or [D, H, W].
      prediction: bool, same shape.
      spacing_mm: size of a voxel along each axis, mm.
      percentile: in [0, 100]; 100 is the Hausdorff distance.

    Returns:
      NaN when both masks are empty, infinity when one of them is.
    """
    if not (reference.any() and prediction.any()):
        return np.inf if reference.any() or prediction.any() else np.nan
    distances = _compute_surface_distances(reference, prediction, spacing_mm)
    return float(surface_distance.compute_robust_hausdorff(distances, percentile))


def normalised_surface_dice(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Fraction of both surfaces within a tolerance of the other surface (NSD), in [0, 1].

    Args:
      reference: bool [H, W] or [D, H, W].
      prediction: bool, same shape.
      spacing_mm: size of a voxel along each axis, mm.
      tolerance_mm: largest distance at which surfaces agree, mm.

    Returns:
      NaN when both masks are empty, 0 when one of them is.
    """
    if not (reference.any() and prediction.any()):
        return 0.0 if reference.any() or prediction.any() else np.nan
    distances = _compute_surface_distances(reference, prediction, spacing_mm)
    return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm))


def _compute_surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Distance of every surface element of two non-empty masks to the other mask's surface, ascending."""
    if reference.ndim not in _TABLES or len(spacing_mm) != reference.ndim:
        raise ValueError(
            f"Surface distances need masks [H, W] or [D, H, W] and one spacing per axis; "
            f"got shape {reference.shape} and spacing {tuple(spacing_mm)} mm."
        )
    kernel, create_sizes = _TABLES[reference.ndim]
    sizes = create_sizes(spacing_mm)
    box = _bounding_box(reference | prediction)
    codes = [_encode_corners(mask[box], kernel) for mask in (reference, prediction)]
    surfaces = [(code > 0) & (code < kernel.sum()) for code in codes]
    to_reference, to_prediction = (
        ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces
    )
    reference_distances, reference_sizes = _sorted_elements(to_prediction, sizes[codes[0]], surfaces[0])
    prediction_distances, prediction_sizes = _sorted_elements(to_reference, sizes[codes[1]], surfaces[1])
    return {
        "distances_gt_to_pred": reference_distances,
        "distances_pred_to_gt": prediction_distances,
        "surfel_areas_gt": reference_sizes,
        "surfel_areas_pred": prediction_sizes,
    }


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    [box] = ndimage.find_objects(mask.astype(np.uint8))
    return box


def _encode_corners(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Encodes which voxels around each corner are inside, one bit each; one larger than the mask along each axis."""
    padded = np.pad(mask, [(0, 1)] * mask.ndim).astype(np.uint8)
    return ndimage.correlate(padded, kernel, mode="constant", cval=0)


def _sorted_elements(distance: np.ndarray, size: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(distance[surface], kind="stable")
    return distance[surface][order], size[surface][order]
