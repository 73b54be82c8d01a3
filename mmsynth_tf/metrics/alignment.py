"""Aligns slices by mirroring, rotation, scale and shift before they are compared, whatever their contrast (§8).

The comparison uses the detail of a slice, not its intensities: each modality is band-passed and divided by its
local contrast. The detail hardly changes with the contrast, and an inversion only changes its sign.
"""

import dataclasses
import functools

import cv2
import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import warping

SIDE = 32  # Longer side to which slices are averaged, pixels. Widths below are in these pixels.
_FINE, _COARSE, _ENERGY = 0.7, 2.0, 1.0  # Sigma of Gaussians: limits of the band-pass, and energy.
_DARK = 0.02  # Synthetic slices are not black outside the head.
_FLAT = 0.05  # Fraction of a slice's mean local variance below which a region counts as flat.
_STEPS = 5  # Of the local search.
_LARGEST_STEP = 1.0  # Pixels.
_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Details:
    """The detail of N slices with c modalities.

    Attributes:
      detail: float32 [N, c, H, W], band-passed and with normalised local contrast; 0 outside the head and for missing
        modalities.
      head: float32 [N, H, W], binary {0, 1}, 1 INSIDE the head.
    """

    detail: np.ndarray
    head: np.ndarray

    def __len__(self) -> int:
        return len(self.head)

    def __getitem__(self, rows: np.ndarray | slice) -> "Details":
        return Details(self.detail[rows], self.head[rows])

    @functools.cached_property
    def energy(self) -> np.ndarray:
        """Energy of the detail over all modalities, independent of its sign: float32 [N, 1, H, W]."""
        head = self.head[:, None]
        squares = _blurred(self.detail**2, _ENERGY) / (_blurred(head, _ENERGY) + _TINY)
        return np.sqrt(squares.mean(axis=1, keepdims=True)) * head

    @functools.cached_property
    def norms(self) -> np.ndarray:
        """|detail| of each slice and modality: float32 [N, c]; 0 for missing modalities."""
        return np.sqrt(np.sum(self.detail**2, axis=(2, 3)))

    @classmethod
    def of(cls, images: np.ndarray, present: np.ndarray | None = None) -> "Details":
        """Extracts the detail of slices float [N, c, H, W] in [0, 1]; larger ones are first averaged to `SIDE` pixels.

        Args:
          images: slices, 0 outside the head.
          present: [N, c], 1 for the modalities that a slice has; None means all.
        """
        images = _averaged(images.astype(np.float32))
        if present is not None:
            images = images * present.astype(np.float32)[..., None, None]
        head = np.stack([_inner(image > _DARK) for image in images.max(axis=1)])
        return cls(_detail(images, head[:, None]), head)

    @classmethod
    def join(cls, parts: list["Details"]) -> "Details":
        return cls(np.concatenate([part.detail for part in parts]), np.concatenate([part.head for part in parts]))


def _inner(head: np.ndarray) -> np.ndarray:
    """A head [H, W] without its outermost pixels, which are averages of head and background."""
    padded = cv2.copyMakeBorder(head.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cv2.erode(padded, np.ones((3, 3)))[1:-1, 1:-1]


def _averaged(images: np.ndarray) -> np.ndarray:
    height, width = images.shape[2:]
    factor = min(1.0, SIDE / max(height, width))
    size = [max(1, round(factor * extent)) for extent in (height, width)]
    flat = images.reshape(-1, height, width, 1)
    return tf.image.resize(flat, size, method="area").numpy().reshape(*images.shape[:2], *size)


def _detail(images: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Images [N, c, H, W] within `head` [N, 1, H, W], band-passed, with normalised local contrast."""
    near, far = (_blurred(head, width) + _TINY for width in (_FINE, _COARSE))
    smooth = _blurred(images * head, _FINE) / near
    change = (smooth - _blurred(smooth * head, _COARSE) / far) * head
    local = _blurred(change**2, _COARSE) / far
    mean = np.sum(change**2, axis=(2, 3), keepdims=True) / np.maximum(head.sum(axis=(2, 3), keepdims=True), 1)
    return change / np.sqrt(local + _FLAT * mean + 1e-12)


def _blurred(images: np.ndarray, width: float) -> np.ndarray:
    """Images [..., H, W] convolved with a Gaussian, with zero padding."""
    rows, columns = (_gaussian(extent, width) for extent in images.shape[-2:])
    return rows @ images @ columns


@functools.cache
def _gaussian(extent: int, width: float) -> np.ndarray:
    places = np.arange(extent)
    weights = np.exp(-((places[:, None] - places) ** 2) / (2 * width**2))
    return (weights / weights.sum(axis=1).max()).astype(np.float32)


def similarities(
    scale: np.ndarray, angle: np.ndarray, mirror: np.ndarray, source: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Similarity transforms as matrices float32 [N, 3, 3] from output to input pixels, in x, y order.

    Args:
      scale: [N], input pixels of one output pixel.
      angle: [N], radians.
      mirror: [N], -1 or 1.
      source: [N, 2], x and y in the input that correspond to `target`.
      target: [2], x and y in the output.
    """
    scale, angle, mirror, x, y = np.broadcast_arrays(scale, angle, mirror, source[:, 0], source[:, 1])
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    found = np.zeros((len(scale), 3, 3), np.float32)
    found[:, 0, 0], found[:, 0, 1] = cosine * mirror, -sine
    found[:, 1, 0], found[:, 1, 1] = sine * mirror, cosine
    found[:, :2, 2] = np.stack([x, y], axis=1) - found[:, :2, :2] @ np.asarray(target, np.float32)
    found[:, 2, 2] = 1
    return found


def warped(images: np.ndarray, matrices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images [N, c, H, W] warped by matrices [N, 3, 3] from output to input pixels: float32 [N, c, *size]."""
    transforms = np.concatenate([matrices.reshape(-1, 9)[:, :6], np.zeros((len(matrices), 2))], axis=1)
    moved = warping.transform(np.moveaxis(images, 1, -1), transforms.astype(np.float32), "BILINEAR", output_size=size)
    return np.moveaxis(moved.numpy(), -1, 1)


def agreement(moved: np.ndarray, norms: np.ndarray, other: Details) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation between the details of P warped slices and P other slices, over all pairs of modalities.

    Args:
      moved: float32 [P, c, H, W], warped details.
      norms: float32 [P, c], norms of the details before warping; 0 for missing modalities.
      other: details of P slices.

    Returns:
      The mean over modalities of the largest absolute correlation with any modality of the other slice, float [P] in
      [0, 1]. Then the matched modalities, int [P, c], and their signed correlations, float [P, c] in [-1, 1].
    """
    count, channels = moved.shape[:2]
    flat, other_flat = moved.reshape(count, channels, -1), other.detail.reshape(count, channels, -1)
    lengths = np.linalg.norm(flat, axis=2)[:, :, None] * other.norms[:, None]
    table = flat @ np.swapaxes(other_flat, 1, 2) / np.maximum(lengths, _TINY)
    partner = np.abs(table).argmax(axis=2)
    signed = np.take_along_axis(table, partner[..., None], axis=2)[..., 0]
    # Missing modalities do not reduce the correlation.
    common = np.minimum(np.sum(norms > 0, axis=1), np.sum(other.norms > 0, axis=1))
    best_first = -np.sort(-np.abs(signed), axis=1)
    counted = np.arange(channels) < common[:, None]
    return np.sum(best_first * counted, axis=1) / np.maximum(common, 1), partner, signed


def refined(queries: Details, reference: Details, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Improves the alignment of P pairs by Gauss-Newton steps on the correlation of their details.

    Args:
      queries: P slices.
      reference: P slices.
      matrices: float32 [P, 3, 3], initial alignments, from reference to query pixels.

    Returns:
      The best agreement of all steps, float [P] in [0, 1], and its matrices, float32 [P, 3, 3].
    """
    best, best_matrices = np.full(len(matrices), -1.0), matrices
    size, rows = reference.head.shape[1:], np.arange(len(matrices))[:, None]
    both = np.concatenate([queries.detail, queries.head[:, None]], axis=1)
    for step in range(_STEPS + 1):
        parts = warped(both, matrices, size)
        moved, head = parts[:, :-1], parts[:, -1:]
        found, partner, signed = agreement(moved, queries.norms, reference)
        better = found > best
        best = np.where(better, found, best)
        best_matrices = np.where(better[:, None, None], matrices, best_matrices)
        if step < _STEPS:
            wanted = reference.detail[rows, partner] * np.sign(signed)[..., None, None]
            matrices = matrices @ _moves(_steps(moved, head, wanted), size)
    return best, best_matrices


def _steps(moved: np.ndarray, head: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Changes of scale, angle, x and y [P, 4] that best align `moved` with `wanted`, both [P, c, H, W]."""
    height, width = moved.shape[2:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    dy, dx = (part * head for part in np.gradient(moved, axis=(2, 3)))
    parts = np.stack([dx * x + dy * y, dy * x - dx * y, dx, dy, moved, wanted], axis=2)
    parts = parts.reshape(*parts.shape[:3], -1)
    products = parts @ np.swapaxes(parts, 2, 3)
    # Least squares over the changes and the contrast of each modality; the contrast is eliminated first.
    own, target, cross = (products[:, :, i, j] + _TINY for i, j in ((4, 4), (5, 5), (4, 5)))
    cross = np.maximum(cross, _TINY)
    along = products[:, :, :4, 4]
    normal = products[:, :, :4, :4] - along[..., None] * along[..., None, :] / own[..., None, None]
    gradient = (products[:, :, :4, 5] - along * (cross / own)[..., None]) * (own / cross)[..., None]
    weight = cross**2 / (own**2 * target)  # Squared correlation, for slices of norm 1.
    normal = np.sum(normal * weight[..., None, None], axis=1) + 1e-6 * np.eye(4)
    found = np.linalg.solve(normal, np.sum(gradient * weight[..., None], axis=1)[..., None])[..., 0]
    pixels = np.maximum(np.abs(found[:, :2]).max(axis=1) * max(height, width) / 2, np.abs(found[:, 2:]).max(axis=1))
    return found * np.minimum(1.0, _LARGEST_STEP / np.maximum(pixels, _TINY))[:, None]


def _moves(changes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Matrices float32 [P, 3, 3] of small changes [P, 4] about the centre."""
    scale, angle = 1 + changes[:, 0], changes[:, 1]
    centre = (np.array(size[::-1], np.float32) - 1) / 2
    ones = np.ones(len(changes))
    return similarities(np.hypot(scale, angle), np.arctan2(angle, scale), ones, centre + changes[:, 2:], centre)
