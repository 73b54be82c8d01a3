"""Metrics of segmentations and images: one case in, one number out, and summaries over cases.

Segmentation metrics work on binary masks of a slice [H, W] or a patient volume
[D, H, W], per evaluation region. Empty masks: nothing to find and nothing found
is NaN ("absent"); a lesion missed altogether, or one found where there is none,
scores worst (0, or an infinite distance) and so stays in every summary. The
label-map Dice and MSE are those of the paper's tables (method §9), kept so that
those can be compared with; they are not overlap measures of regions.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from scipy import ndimage

from mmsynth_tf import commands
from mmsynth_tf.measures import surface_distances

DICE = "dice"
SENSITIVITY = "sensitivity"
PRECISION = "precision"
HD95 = "hd95"
NSD = "nsd"
OVERLAP_METRICS = (DICE, SENSITIVITY, PRECISION)
SURFACE_METRICS = (HD95, NSD)

# Constants of the SSIM of Wang et al., 2004.
_SSIM_SIGMA = 1.5
_SSIM_TRUNCATE = 3.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
# Of the multi-scale SSIM of Wang et al., 2003: window in pixels, and weights of the scales, finest first.
_MS_SSIM_WINDOW = 11
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice coefficient of two masks (bool, same shape), in [0, 1]; NaN when both are empty."""
    return _ratio(2 * np.sum(reference & prediction), np.sum(reference) + np.sum(prediction))


def sensitivity(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the reference that was found, in [0, 1]; NaN when there is nothing to find."""
    return _ratio(np.sum(reference & prediction), np.sum(reference))


def precision(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the prediction that is right, in [0, 1]; 0 when a lesion was missed, NaN when both masks are empty."""
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


def label_map_dice(reference: np.ndarray, prediction: np.ndarray, smooth: float = 1e-5) -> float:
    """The authors' Dice of integer label maps: (2 Σab + s) / (Σa² + Σb² + s); 1 when both are empty.

    It is not a measure of overlap: class 3 where the truth is 4 scores 0.96.

    Args:
      reference: integer labels, any shape.
      prediction: integer labels, same shape.
      smooth: s.
    """
    a, b = _as_floats(reference, prediction)
    return float((2 * np.sum(a * b) + smooth) / (np.sum(a * a) + np.sum(b * b) + smooth))


def label_map_mse(reference: np.ndarray, prediction: np.ndarray) -> float:
    """The authors' mean squared error of integer label maps, any shape; depends on the numbering of the classes."""
    a, b = _as_floats(reference, prediction)
    return float(np.mean((a - b) ** 2))


def masked_mae(reference: np.ndarray, image: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error inside a mask; NaN when it is empty.

    Args:
      reference: float [..., H, W].
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
    """
    a, b = _as_floats(reference, image, mask)
    return _mean(np.abs(a - b)[mask])


def masked_psnr(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio inside a mask, dB; NaN when it is empty, infinite for equal images.

    Args:
      reference: float [..., H, W].
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
      data_range: largest minus smallest possible value.
    """
    a, b = _as_floats(reference, image, mask)
    error = _mean(((a - b) ** 2)[mask])
    return float(10 * np.log10(data_range**2 / error)) if error != 0 else np.inf


def masked_ssim(reference: np.ndarray, image: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Mean over a mask of the structural similarity of slices (Wang et al., 2004), in [-1, 1]; NaN when it is empty.

    Gaussian window of sigma 1.5 pixels within the slice, population statistics.
    Windows at the mask's rim reach outside it, so both images should be equal
    (0) there.

    Args:
      reference: float [..., H, W]; each slice is filtered on its own.
      image: float, same shape.
      mask: bool, same shape, true where it counts (the head).
      data_range: largest minus smallest possible value.
    """
    a, b = _as_floats(reference, image, mask)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variances = _window_mean(a * a) - mean_a**2 + _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variances + c2)
    return _mean(similarity[mask])


def ms_ssim_scales(image_size: Sequence[int]) -> int:
    """Number of scales of `ms_ssim`: the shorter side, halved for each, stays at least as wide as the window.

    Raises:
      UserError: images are smaller than the window.
    """
    shorter = min(image_size)
    if shorter < _MS_SSIM_WINDOW:
        raise commands.UserError(
            f"MS-SSIM needs slices of {_MS_SSIM_WINDOW} pixels a side at least, these have {shorter}; "
            "build the data sets with larger data.height and data.width."
        )
    return min(len(_MS_SSIM_WEIGHTS), int(np.log2(shorter / _MS_SSIM_WINDOW)) + 1)


def ms_ssim(first: np.ndarray, second: np.ndarray, data_range: float = 1.0) -> np.ndarray:
    """Multi-scale structural similarity of slices (Wang et al., 2003), as much of its five scales as fits.

    Args:
      first: float [B, H, W].
      second: float, same shape.
      data_range: largest minus smallest possible value.

    Returns:
      float32 [B] in [0, 1]; weights of the scales that are left out go to the others in proportion.

    Raises:
      UserError: images are smaller than the window.
    """
    weights = np.array(_MS_SSIM_WEIGHTS[: ms_ssim_scales(first.shape[1:])])
    a, b = (tf.constant(images[..., None], tf.float32) for images in (first, second))
    return tf.image.ssim_multiscale(
        a, b, data_range, power_factors=weights / weights.sum(), filter_size=_MS_SSIM_WINDOW
    ).numpy()


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric over many cases.

    Attributes:
      mean: mean over the `count` finite values; read it together with `missed`.
      std: standard deviation of the same values (n - 1); NaN for fewer than two.
      median: median with missed cases as infinitely bad; infinite when half of the cases or more are missed.
      count: number of finite values.
      missed: number of infinite values: distances to a lesion that was missed, or found where there is none.
      absent: number of NaN: nothing to find and nothing found.
    """

    mean: float
    std: float
    median: float
    count: int
    missed: int
    absent: int

    def text(self, digits: int = 3) -> str:
        """For tables, for example "0.842 ± 0.051 (n=17, 1 missed)"."""
        notes = [f"n={self.count}"] + ([f"{self.missed} missed"] if self.missed else [])
        if not self.count:
            return f"– ({', '.join(notes)})"
        spread = f" ± {self.std:.{digits}f}" if self.count > 1 else ""
        return f"{self.mean:.{digits}f}{spread} ({', '.join(notes)})"


def summarise(values: Iterable[float]) -> Summary:
    """Summary of per-case values, of which none is silently dropped."""
    values = np.asarray(list(values), np.float64)
    finite = values[np.isfinite(values)]
    present = values[~np.isnan(values)]
    return Summary(
        mean=_mean(finite),
        std=float(np.std(finite, ddof=1)) if finite.size > 1 else np.nan,
        median=float(np.median(present)) if present.size else np.nan,
        count=finite.size,
        missed=present.size - finite.size,
        absent=values.size - present.size,
    )


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else np.nan


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else np.nan


def _window_mean(values: np.ndarray) -> np.ndarray:
    sigma = (0.0,) * (values.ndim - 2) + (_SSIM_SIGMA, _SSIM_SIGMA)
    return ndimage.gaussian_filter(values, sigma, truncate=_SSIM_TRUNCATE)


def _check_masks(reference: np.ndarray, prediction: np.ndarray) -> None:
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise ValueError(f"Masks must be boolean, got {reference.dtype} and {prediction.dtype}; compare labels first.")
    _check_shapes(reference, prediction)


def _check_shapes(*arrays: np.ndarray) -> None:
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"Shapes must be equal to be compared, got {', '.join(str(a.shape) for a in arrays)}.")


def _as_floats(reference: np.ndarray, other: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Both arrays in double precision, after checking that all shapes agree and that a mask is one."""
    _check_shapes(reference, other, *(() if mask is None else (mask,)))
    if mask is not None and mask.dtype != np.bool_:
        raise ValueError(f"The mask must be boolean (true where it counts), got {mask.dtype}.")
    return reference.astype(np.float64), other.astype(np.float64)
