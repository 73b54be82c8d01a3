"""Checks that the foreground of a volume is the head: the background must have one constant value."""

import numpy as np

from mmsynth_tf.reading.scaling import IntensityRange
from mmsynth_tf.reading.volumes import Oddity

# Values this close to the background, as a fraction of the range, are spline artefacts around a head (1e-4 and less).
# At most 0.06 % of the voxels of real heads are that dark.
_TINY = 1e-3
# A larger fraction of such values changes the head's scaling and outline. In z-scored heads, 1 % lie that close to 0.
_LARGEST_TINY_SHARE = 0.05
# A head that touches one of the four sides covers less of them than this; noise in the air covers most of them.
_LARGEST_SIDE_SHARE = 0.25
# A head that fills a larger fraction of its volume has no background.
_LARGEST_HEAD = 0.95
# The largest brains have 2 litres; heads with skin and skull have more than 3. mm^3.
_LARGEST_BRAIN = 2.3e6
# Every fourth row is enough to estimate a fraction.
_ROW_STEP = 4
_STRIP = "Strip the skull and set everything outside the brain to 0"


def oddity(volume: np.ndarray, intensities: IntensityRange, head: np.ndarray) -> Oddity | None:
    """Returns why the foreground of a volume is not the head; None if it is.

    Args:
      volume: any numeric dtype [x, y, z], finite.
      intensities: its scaling.
      head: bool [x, y, z], its foreground.
    """
    background = intensities.background + 0.0  # Never -0.
    tiny = _TINY * (intensities.high - intensities.low)
    sides = np.concatenate([volume[index].ravel() for index in (0, -1, np.s_[:, 0], np.s_[:, -1])])
    distances = _distances(sides, background)
    beyond = np.count_nonzero(distances >= tiny) / sides.size
    share = _share_near(volume, background, tiny, head)
    if share > _LARGEST_TINY_SHARE and beyond <= _LARGEST_SIDE_SHARE:
        text = (
            f"{share:.0%} of the voxels that count as head lie within {tiny:.3g} of the background {background:g}, as "
            "spline resampling leaves them around a head"
        )
        # Do not suggest a threshold: the largest of these values would remain next to the head and enlarge it.
        remedy = f"Mask everything outside the head with {background:g}, or resample the original image linearly"
        return Oddity(text, remedy)
    if beyond > _LARGEST_SIDE_SHARE or np.count_nonzero(head) > _LARGEST_HEAD * head.size:
        text = (
            f"its background is not constant ({beyond:.0%} of the voxels on its sides differ from {background:g}), so "
            "air counts as head, as in scans without skull stripping"
        )
        return Oddity(text, _STRIP)
    return None


def skull_oddity(head: np.ndarray, affine: np.ndarray) -> Oddity | None:
    """Reports a head bool [x, y, z] that is too large for a brain; `affine` maps indices to mm."""
    size = np.count_nonzero(head) * abs(np.linalg.det(affine[:3, :3]))
    if size <= _LARGEST_BRAIN:
        return None
    return Oddity(f"its head has {size / 1e6:.1f} litres, more than a brain, so it includes the skull", _STRIP)


def _share_near(volume: np.ndarray, background: float, distance: float, head: np.ndarray) -> float:
    """The fraction of the head whose values are closer to the background than `distance`."""
    if np.issubdtype(volume.dtype, np.integer) and distance <= 1:
        return 0.0  # Other integers are further away.
    # Reversed axes follow the memory order.
    rows = np.s_[:, ::_ROW_STEP]
    near = _distances(volume.T[rows][head.T[rows]], background) < distance
    return np.count_nonzero(near) / max(near.size, 1)


def _distances(values: np.ndarray, background: float) -> np.ndarray:
    return np.abs(np.subtract(values, background, dtype=np.float64))
