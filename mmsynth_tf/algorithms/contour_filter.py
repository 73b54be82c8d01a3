"""Algorithm 3: selects generated structure maps with a closed outline (paper §2.8, method §4)."""

import cv2
import numpy as np

from mmsynth_tf import constants
from mmsynth_tf.configs.slice_sizes import CLOSING

# The blur of the paper's slices, 3 x 3 pixels, closes gaps of two.
_LEAST_PIXELS = 1


def mask_from_contours(structure: np.ndarray, closing: float = CLOSING) -> np.ndarray:
    """Derives the background mask that the outer contours of a structure map imply.

    Edges are widened, which closes small gaps; the outer contours are filled on the map itself, as in the authors'
    code, so an open outline stays hollow; then the head gets back its width.

    Args:
      structure: [H, W], binary {0, 1}.
      closing: half the width of the gaps that are closed, as a share of the shorter side, and at least a pixel. 0 is
        the draft: its blur of 3 x 3 pixels closes gaps of two pixels, and the head stays wider by a pixel (on slices of
        less than half the paper's size it does not).

    Returns:
      float32 [H, W], 1 outside the filled contours, 0 inside.
    """
    edges = structure.astype(np.uint8)
    width = max(_LEAST_PIXELS, round(closing * min(structure.shape)))
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    contours, _ = cv2.findContours(cv2.dilate(edges, window), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = cv2.drawContours(edges, contours, -1, color=1, thickness=cv2.FILLED)
    if closing or min(structure.shape) < constants.PAPER_SIZE / 2:
        # Algorithm 2's rim shrinks with the slice. At 64 pixels one more pixel around a head is 4 % of the slice, so
        # that no map would pass, not even a real one.
        filled = cv2.erode(filled, window)
    return (filled == 0).astype(np.float32)


def mask_errors(structures: np.ndarray, backgrounds: np.ndarray, closing: float = CLOSING) -> np.ndarray:
    """mean|m' - m| of each generated pair of structure map and background mask.

    Args:
      structures: [N, H, W], binary {0, 1}.
      backgrounds: [N, H, W] in [0, 1], 1 outside the head.
      closing: see `mask_from_contours`.

    Returns:
      float32 [N] in [0, 1]. Algorithm 3 accepts a pair when this is at most 0.05.
    """
    return np.array(
        [np.abs(mask_from_contours(f, closing) - m).mean() for f, m in zip(structures, backgrounds, strict=True)],
        np.float32,
    )
