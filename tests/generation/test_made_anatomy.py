"""Maps from noise: which of them are kept."""

import types

import numpy as np

from mmsynth_tf import configs
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.generation.anatomy import MadeAnatomy

SIZE = (64, 64)


def test_only_maps_with_a_closed_head_are_kept():
    """A disc, a disc without its outline, and a map without anything."""
    rows, columns = np.indices(SIZE)
    radius = np.hypot(rows - 32, columns - 32)
    structure, background = np.zeros((2, 3, *SIZE, 1), np.uint8)
    background[:] = 1
    structure[0, (radius > 18) & (radius <= 20)] = 1
    background[:2, radius <= 20] = 0
    gan = types.SimpleNamespace(choices=types.SimpleNamespace(closing=slice_sizes.CLOSING))
    made = MadeAnatomy(gan, None, np.zeros(1), configs.Config(), SIZE, 0.0)
    judged = made.judge({"seed": np.arange(3), "structure": structure, "background": background})
    assert judged["closed"].tolist() == [True, False, False]
