"""Segmentation metrics of one case.

They use binary masks of a slice [H, W] or a patient volume [D, H, W], for each
evaluation region. If both masks are empty, the result is NaN ("absent"). If only
one is empty, the score is the worst (0, or an infinite distance), so the case
stays in every summary. The label-map Dice and MSE are those of the paper's tables
(method §9), for comparison with the paper; they do not measure overlap of regions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from mmsynth_tf.metrics import surface_distances
from mmsynth_tf.metrics.arrays import as_floats, check_shapes

DICE = "dice"
SENSITIVITY = "sensitivity"
PRECISION = "precision"
HD95 = "hd95"
NSD = "nsd"
OVERLAP_METRICS = (DICE, SENSITIVITY, PRECISION)
FALSE_ML, INVENTED_ML, MISSED_ML, VOLUME_ERROR_ML = "false_ml", "invented_ml", "missed_ml", "volume_error_ml"


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice coefficient of two masks (bool, same shape), in [0, 1]; NaN when both are empty."""
    return _ratio(2 * np.sum(reference & prediction), np.sum(reference) + np.sum(prediction))


def sensitivity(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Fraction of the reference that is segmented, in [0, 1]; NaN when the reference is empty."""
    return _ratio(np.sum(reference & prediction), np.sum(reference))


def precision(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Fraction of the prediction that is correct, in [0, 1]; 0 for a missed lesion, NaN when both masks are empty."""
    if reference.any() and not prediction.any():
        return 0.0
    return _ratio(np.sum(reference & prediction), np.sum(prediction))


def mask_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float] | None = None,
    tolerance_mm: float = 1.0,
) -> dict[str, float]:
    """All segmentation metrics of one pair of masks.

    Args:
      reference: bool [H, W] or [D, H, W].
      prediction: bool, same shape.
      spacing_mm: size of a voxel along each axis, mm; without it the surface metrics are left out.
      tolerance_mm: distance within which two surfaces agree (NSD), mm.

    Returns:
      Metric name to value; see the module's docstring for empty masks.

    Raises:
      ValueError: the masks are not boolean or differ in shape.
    """
    _check_masks(reference, prediction)
    values = {
        DICE: dice(reference, prediction),
        SENSITIVITY: sensitivity(reference, prediction),
        PRECISION: precision(reference, prediction),
    }
    if spacing_mm is not None:
        values[HD95] = surface_distances.hausdorff_distance(reference, prediction, spacing_mm)
        values[NSD] = surface_distances.normalised_surface_dice(reference, prediction, spacing_mm, tolerance_mm)
    return values


def region_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    regions: Mapping[str, Sequence[int]],
    spacing_mm: Sequence[float] | None = None,
    tolerance_mm: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Segmentation metrics of two label maps, region by region.

    Args:
      reference: integer labels [H, W] or [D, H, W].
      prediction: integer labels, same shape.
      regions: region name to the label values that form it.
      spacing_mm: size of a voxel along each axis, mm; without it the surface metrics are left out.
      tolerance_mm: distance within which two surfaces agree (NSD), mm.

    Returns:
      Region name to metric name to value.

    Raises:
      ValueError: the label maps differ in shape.
    """
    return {
        name: mask_metrics(np.isin(reference, values), np.isin(prediction, values), spacing_mm, tolerance_mm)
        for name, values in regions.items()
    }


def volume_errors(reference: np.ndarray, prediction: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Volumes that a prediction adds and misses.

    Args:
      reference: bool, any shape.
      prediction: bool, same shape.
      voxel_ml: volume of a voxel, ml.

    Returns:
      `false_ml`, the predicted volume outside the reference. `invented_ml`, the part of it in connected lesions that do
      not touch the reference; the rest is at its border. `missed_ml`, the volume that is not predicted.
      `volume_error_ml`, the predicted volume minus that of the reference.
    """
    _check_masks(reference, prediction)
    parts, _ = ndimage.label(prediction, np.ones((3,) * prediction.ndim))
    invented = prediction & ~np.isin(parts, np.unique(parts[reference & prediction]))
    masks = {FALSE_ML: prediction & ~reference, INVENTED_ML: invented, MISSED_ML: reference & ~prediction}
    volumes = {name: voxel_ml * np.count_nonzero(mask) for name, mask in masks.items()}
    return {**volumes, VOLUME_ERROR_ML: volumes[FALSE_ML] - volumes[MISSED_ML]}


def label_map_dice(reference: np.ndarray, prediction: np.ndarray, smooth: float = 1e-5) -> float:
    """The authors' Dice of integer label maps: (2 Σab + s) / (Σa² + Σb² + s); 1 when both are empty.

    It does not measure overlap: predicting class 3 for class 4 scores 0.96.

    Args:
      reference: integer labels, any shape.
      prediction: integer labels, same shape.
      smooth: s.
    """
    a, b = as_floats(reference, prediction)
    return float((2 * np.sum(a * b) + smooth) / (np.sum(a * a) + np.sum(b * b) + smooth))


def label_map_mse(reference: np.ndarray, prediction: np.ndarray) -> float:
    """The authors' mean squared error of integer label maps, any shape; depends on the numbering of the classes."""
    a, b = as_floats(reference, prediction)
    return float(np.mean((a - b) ** 2))


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else np.nan


def _check_masks(reference: np.ndarray, prediction: np.ndarray) -> None:
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise ValueError(f"Masks must be boolean, got {reference.dtype} and {prediction.dtype}; compare labels first.")
    check_shapes(reference, prediction)
