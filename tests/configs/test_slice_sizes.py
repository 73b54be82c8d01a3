"""What follows from the size of slices."""

import pytest

from mmsynth_tf.configs import slice_sizes


@pytest.mark.parametrize(("size", "expected"), [((64, 64), 1.0), ((64, 80), 1.0), ((192, 128), 2.0), ((16, 16), 0.25)])
def test_lengths_follow_the_shorter_side(size, expected):
    assert slice_sizes.relative_size(size) == expected


# Halvings of slices, discriminators and codes; levels of U-Nets.
DEPTHS = {
    (16, 16): (1, 3, 2, 2),
    (64, 64): (3, 3, 2, 4),
    (64, 32): (2, 3, 2, 3),
    (128, 128): (4, 4, 3, 5),
    (192, 192): (4, 4, 3, 5),
    (240, 240): (4, 4, 3, 5),
    (512, 512): (6, 6, 5, 7),
    # 45 pixels cannot be halved.
    (90, 64): (1, 3, 2, 2),
}


@pytest.mark.parametrize("size", DEPTHS)
def test_the_depth_of_all_networks_follows_from_the_size(size):
    found = (
        slice_sizes.halvings(size),
        slice_sizes.discriminator_halvings(size),
        slice_sizes.code_halvings(size),
        slice_sizes.unet_levels(size),
    )
    assert found == DEPTHS[size]


def test_codes_have_as_many_dimensions_as_the_shorter_side_has_pixels():
    assert [slice_sizes.latent_dim(size) for size in ((64, 64), (192, 128))] == [64, 128]
