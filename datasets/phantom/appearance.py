"""Appearance of the tissues in each modality."""

import numpy as np
from scipy import ndimage

from datasets.phantom import tumour
from datasets.phantom.anatomy import Tissues
from datasets.phantom.fields import smooth_field

_TISSUES = ("csf", "grey", "white", "oedema", "necrosis", "enhancing", "non_enhancing", "vessel")
# Mean signal by tissue; white matter in T1 is about 0.8.
_SIGNAL = {
    "t1": (0.25, 0.58, 0.80, 0.52, 0.36, 0.58, 0.46, 0.50),
    "t1ce": (0.22, 0.50, 0.64, 0.44, 0.26, 1.05, 0.38, 1.00),
    "t2": (1.05, 0.60, 0.44, 0.82, 0.94, 0.70, 0.86, 0.35),
    "flair": (0.14, 0.52, 0.40, 0.92, 0.48, 0.74, 0.78, 0.30),
}
MODALITIES = tuple(_SIGNAL)
_JITTER = 0.06  # Relative standard deviation of a tissue's signal between cases.


def tissue_fractions(
    rng: np.random.Generator, tissues: Tissues, label: np.ndarray, is_low_grade: bool, spacing: float
) -> dict[str, np.ndarray]:
    """Tissue fractions of each brain voxel; float32 [voxels inside], with sum 1."""
    core = "non_enhancing" if is_low_grade else "necrosis"
    classes = {"oedema": tumour.OEDEMA, core: tumour.NECROSIS, "enhancing": tumour.ENHANCING}
    lesion = {name: _soft(label == value, spacing)[tissues.inside] for name, value in classes.items()}
    healthy = np.clip(1 - sum(lesion.values()), 0, 1)
    csf, grey, white = (f[tissues.inside] * healthy for f in (tissues.csf, tissues.grey, tissues.white))
    # Vessels run in narrow sulci and fissures, where CSF never fills a voxel, but not in the ventricles.
    is_vessel = smooth_field(rng, label.shape, 4 / spacing)[tissues.inside] > 1.2
    vessel = csf * np.clip(3 * (1 - csf), 0, 1) * is_vessel
    return {"csf": csf - vessel, "grey": grey, "white": white, "vessel": vessel} | lesion


def _soft(mask: np.ndarray, spacing: float) -> np.ndarray:
    """Partial volume at a lesion's edges; float32 of the mask's shape."""
    soft = mask.astype(np.float32)
    if mask.any():
        margin = 4
        bounds = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
        box = tuple(slice(max(low - margin, 0), high + margin + 1) for low, high in bounds)
        soft[box] = ndimage.gaussian_filter(soft[box], 0.7 / spacing)
    return soft


def render(
    rng: np.random.Generator, modality: str, fractions: dict[str, np.ndarray], inside: np.ndarray, spacing: float
) -> np.ndarray:
    """Draws an image: contrast, texture, bias field, Rician noise and the scanner's unit.

    Returns:
      int16 [x, y, z], 0 outside the brain and at least 1 inside.
    """
    signal = dict(zip(_TISSUES, _SIGNAL[modality], strict=True))
    shape = inside.shape
    lesion_texture = 0.10 * smooth_field(rng, shape, 5 / spacing)[inside]
    image = np.zeros(np.count_nonzero(inside), np.float32)
    for tissue, fraction in fractions.items():
        mean = np.float32(signal[tissue] * (1 + _JITTER * rng.standard_normal()))
        is_lesion = tissue in ("oedema", "necrosis", "enhancing", "non_enhancing")
        image += fraction * mean * (1 + lesion_texture) if is_lesion else fraction * mean
    image *= 1 + 0.03 * smooth_field(rng, shape, 8 / spacing)[inside]
    image *= np.exp(0.08 * smooth_field(rng, shape, 70 / spacing)[inside])
    noise = rng.uniform(0.015, 0.035)
    real, imaginary = rng.standard_normal((2, image.size), np.float32) * np.float32(noise)
    image = np.hypot(image + real, imaginary)
    volume = np.zeros(shape, np.int16)
    volume[inside] = np.clip(image * rng.uniform(300, 1500), 1, 32767)
    return volume
