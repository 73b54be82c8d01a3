"""Measures where heads lie in slices, so that a lesion keeps its position in another head (beyond the paper).

A frame describes a head by its centre and its extents. A lesion keeps its position relative to the frame: at the left
border it stays at the left border. It takes up as much of a small head as of a large one.
"""

import numpy as np

# A lesion grows or shrinks at most by this factor along each axis when it moves to another head.
_LARGEST_RATIO = 1.5
# Fraction of all slices that count as slices of about the same height, and their minimum number. Lesions then have
# sizes that occur at this height.
_SAME_HEIGHT, _LEAST_NEAR = 0.2, 10


def head_of(image: np.ndarray) -> np.ndarray:
    """The head in all available modalities of a slice [H, W, n]: bool [H, W]."""
    there = image.any(axis=(0, 1))
    return np.all(image[..., there] > 0, axis=-1) if there.any() else np.zeros(image.shape[:2], bool)


def frame(head: np.ndarray) -> np.ndarray:
    """The frame of a head, bool [H, W]: float32 [4], its centre (row, column) and its extents, pixels.

    Extents are standard deviations of coordinates, because a bounding box would include every speck. They are at
    least 1.
    """
    places = np.argwhere(head)
    if not len(places):
        return np.array([*(np.array(head.shape) - 1) / 2, 1.0, 1.0], np.float32)
    return np.concatenate([places.mean(axis=0), np.maximum(places.std(axis=0), 1.0)]).astype(np.float32)


def ratio(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scale of a lesion along rows and columns, float32 [..., 2], from the frames [..., 4] of both heads."""
    return np.clip(target[..., 2:] / source[..., 2:], 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)


def near(heights: np.ndarray, wanted: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Draws slices of about the wanted heights: indices, int64 [B, k].

    Args:
      heights: [N], positions of the slices along their heads.
      wanted: [B], positions along the head.
      chances: [B, k] in [0, 1), uniform.
    """
    order = np.argsort(heights, kind="stable")
    count = min(len(order), max(_LEAST_NEAR, round(_SAME_HEIGHT * len(order))))
    middle = np.searchsorted(heights[order], wanted)
    first = np.clip(middle - count // 2, 0, len(order) - count)
    return order[first[:, None] + (chances * count).astype(np.int64)]
