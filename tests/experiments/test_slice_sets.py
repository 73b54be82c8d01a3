"""Maps of slices of any size and number."""

import numpy as np

from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import StructureMapConfig
from mmsynth_tf.experiments.slice_sets import maps_of


def test_slices_of_several_sizes_in_one_process_have_the_maps_of_their_size(rng):
    settings = StructureMapConfig()
    for count, *size in ((2, 32, 32), (3, 32, 32), (3, 48, 40), (4, 24, 64)):
        images = np.zeros((count, 2, *size, 1), np.float32)
        images[:, :, 6:-6, 6:-6] = rng.uniform(0.2, 1.0, (count, 2, size[0] - 12, size[1] - 12, 1))
        found = maps_of({"image": images}, settings)
        expected = structure_maps.background_of(images.reshape(-1, *size, 1), settings)
        np.testing.assert_array_equal(found.head.reshape(-1, *size), np.asarray(expected)[..., 0] < 0.5)
        assert found.structure.shape == found.interior.shape == (count, 2, *size)
