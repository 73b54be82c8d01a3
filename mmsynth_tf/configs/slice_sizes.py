"""What follows from the size of slices: lengths, depth of networks, size of codes. No TensorFlow here.

Lengths are proportional to the shorter side of a slice, so that they cover the same anatomy at every size. Those of the
paper refer to its slices (`constants.PAPER_SIZE`), those beyond it to the slices on which they were chosen.

All networks halve slices equally often (`halvings`), so that they see the same share of a slice at every size.
Formulation `paper` has the draft's depths instead.
"""

from collections.abc import Sequence

# Shorter side of the slices on which the choices beyond the paper were measured (preset cpu), pixels.
MEASURED_SIZE = 64
# Half the width of the gaps in an outline that Algorithm 3 closes, as a share of the shorter side: 1 pixel of 64, 4 of
# 192. Where a bright lesion makes the rest of the head's edge faint, real outlines have gaps of some mm. With a fixed
# pixel 72 % of the real training slices passed at 192 pixels; with this share at least 96 % pass at 64 to 240 pixels.
CLOSING = 0.02
# Longest shorter side of the coarsest features, pixels.
_COARSEST = 12
# The draft's depths, which are also the least on small slices: of patch discriminators, and of codes of slices.
_FEWEST_DISCRIMINATOR_HALVINGS, _FEWEST_CODE_HALVINGS = 3, 2


def relative_size(image_size: Sequence[int]) -> float:
    """Shorter side of slices of (H, W) pixels, relative to the slices on which lengths were chosen.

    A length of l pixels there is l times this here, and an area of a pixels is a times its square.
    """
    return min(image_size) / MEASURED_SIZE


def halvings(image_size: Sequence[int]) -> int:
    """How often networks halve slices of (H, W) pixels.

    Until the shorter side has at most 12 pixels, or one side cannot be halved exactly: 3 times from 64 to 8 pixels, 4
    times from 128 to 8, from 192 to 12 and from 240 to 15.
    """
    height, width = image_size
    count = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) > _COARSEST:
        height, width, count = height // 2, width // 2, count + 1
    return count


def unet_levels(image_size: Sequence[int]) -> int:
    """Resolution levels of the segmenters' U-Nets: 4 at 64 pixels, 5 at 128 to 240."""
    return halvings(image_size) + 1


def code_halvings(image_size: Sequence[int]) -> int:
    """How often the encoders of the synthesis stage halve slices: once less, so that codes keep the place of edges."""
    return max(halvings(image_size) - 1, _FEWEST_CODE_HALVINGS)


def discriminator_halvings(image_size: Sequence[int]) -> int:
    """How often patch discriminators halve slices: 3 times at 64 pixels, 4 times at 128 to 240."""
    return max(halvings(image_size), _FEWEST_DISCRIMINATOR_HALVINGS)


def latent_dim(image_size: Sequence[int]) -> int:
    """Dimensions of the code of a structure map: as many as the shorter side has pixels, as on 64 pixels."""
    return min(image_size)


def receptive_field(num_halvings: int) -> int:
    """Side of the square that a score of a patch discriminator sees, pixels: 54 with 3 halvings, 110 with 4.

    Layers of `models.discriminators.patch_discriminator`: as many of 4 x 4 with stride 2, and two of 3 x 3.
    """
    side, stride = 1, 1
    for kernel, step in (*((4, 2),) * num_halvings, (3, 1), (3, 1)):
        side, stride = side + (kernel - 1) * stride, stride * step
    return side
