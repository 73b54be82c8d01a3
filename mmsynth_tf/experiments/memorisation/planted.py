"""Artificial copies of slices with known changes, to test which copies the audit finds (method §8)."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import warping
from mmsynth_tf.configs import AugmentationConfig, slice_sizes

_BLUR = 1.0  # Pixels of `slice_sizes.MEASURED_SIZE`.
_GAMMA = 0.5  # Gamma between exp(-v) and exp(v), drawn for each modality.

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def exact(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return images


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return images[..., ::-1]


def moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies the random mirroring, rotation, scaling and shift of the generators' augmentation."""
    size, seed = images.shape[2:], tf.constant(rng.integers(2**31, size=2))
    transforms = warping.random_transforms(len(images), size, AugmentationConfig(), seed)
    return np.moveaxis(warping.transform(np.moveaxis(images, 1, -1), transforms, "BILINEAR").numpy(), -1, 1)


def blurred(images: np.ndarray, rng: np.random.Generator, width: float = _BLUR) -> np.ndarray:
    """Convolves with a Gaussian, within the head; `width` is its sigma, see `_BLUR`."""
    width = width * slice_sizes.relative_size(images.shape[2:])
    offsets = np.arange(-math.ceil(3 * width), math.ceil(3 * width) + 1)
    weights = np.exp(-(offsets**2) / (2 * width**2))
    found = images
    for axis in (2, 3):
        found = sum(w * np.roll(found, k, axis) for k, w in zip(offsets, weights / weights.sum(), strict=True))
    return (found * _head(images)).astype(np.float32)


def gamma(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes the contrast of each modality by a random gamma."""
    return images ** np.exp(rng.uniform(-_GAMMA, _GAMMA, (*images.shape[:2], 1, 1))).astype(np.float32)


def inverted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inverts the intensities within the head."""
    return (1 - images) * _head(images)


def exchanged(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shifts the order of the modalities by one."""
    return np.roll(images, 1, axis=1)


def _head(images: np.ndarray) -> np.ndarray:
    return np.any(images > 0, axis=1, keepdims=True)


KINDS: dict[str, tuple[Change, ...]] = {
    "exact": (exact,),
    "mirrored": (mirrored,),
    "moved": (moved,),
    "blurred": (blurred,),
    "other contrast": (gamma,),
    "inverted": (inverted,),
    "modalities exchanged": (exchanged,),
    "moved, blurred, other contrast": (moved, blurred, gamma),
    "moved, inverted": (inverted, moved),
    "moved, modalities exchanged": (exchanged, moved),
    "moved twice": (moved, moved),
}
NEW: dict[str, tuple[Change, ...]] = {"as they are": (exact,), "moved": (moved,), "blurred": (blurred,)}


def planted(images: np.ndarray, changes: tuple[Change, ...], seed: int) -> np.ndarray:
    """Applies the changes to images float32 [N, n, H, W] in [0, 1], with random numbers from `seed`."""
    rng = np.random.default_rng(seed)
    for change in changes:
        images = change(images, rng)
    return images
