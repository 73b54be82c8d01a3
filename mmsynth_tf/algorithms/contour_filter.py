"""Algorithm 3: selects generated structure maps with a closed outline (paper §2.8, method §4)."""

import cv2
import numpy as np

from mmsynth_tf import constants


def mask_from_contours(structure: np.ndarray, blur: float = 0.8) -> np.ndarray:
    """Derives the background mask that the outer contours of a structure map imply.

    Args:
      structure: [H, W], binary {0, 1}.
      blur: sigma of the Gaussian blur that closes small gaps, pixels; at least 0.3 closes gaps of one pixel.

    Returns:
      float32 [H, W], 1 outside the filled contours, 0 inside. The blur makes the contours a pixel wider on each side.
      On slices of less than half the paper's size it is taken off again.
    """
    edges = structure.astype(np.uint8) * 255
    blurred = cv2.GaussianBlur(edges, (3, 3), blur)
    contours, _ = cv2.findContours((blurred > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # Contours are filled on the map itself, as in the authors' code, so an open outline stays hollow.
    filled = cv2.drawContours(edges, contours, -1, color=255, thickness=cv2.FILLED)
    if min(structure.shape) < constants.PAPER_SIZE / 2:
        # Algorithm 2's rim shrinks with the slice. At 64 pixels one more pixel around a head is 4 % of the slice, so
        # that no map would pass, not even a real one.
        filled = cv2.erode(filled, np.ones((3, 3), np.uint8))
    return (filled == 0).astype(np.float32)


def mask_errors(structures: np.ndarray, backgrounds: np.ndarray, blur: float = 0.8) -> np.ndarray:
    """mean|m' - m| of each generated pair of structure map and background mask.

    Args:
      structures: [N, H, W], binary {0, 1}.
      backgrounds: [N, H, W] in [0, 1], 1 outside the head.
      blur: see `mask_from_contours`.

    Returns:
      float32 [N] in [0, 1]. Algorithm 3 accepts a pair when this is at most 0.05.
    """
    return np.array(
        [np.abs(mask_from_contours(f, blur) - m).mean() for f, m in zip(structures, backgrounds, strict=True)],
        np.float32,
    )
