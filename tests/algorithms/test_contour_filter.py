"""Algorithm 3: closed outlines are filled, open ones stay hollow."""

import numpy as np
import pytest

from mmsynth_tf import configs
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.algorithms.contour_filter import mask_errors, mask_from_contours
from mmsynth_tf.configs import slice_sizes


def outline(size=24, start=4, stop=20) -> np.ndarray:
    """[size, size]: the one pixel wide border of a square."""
    structure = np.zeros((size, size), np.float32)
    structure[start:stop, start:stop] = 1.0
    structure[start + 1 : stop - 1, start + 1 : stop - 1] = 0.0
    return structure


def test_a_closed_outline_is_filled():
    mask = mask_from_contours(outline())
    assert mask.dtype == np.float32
    assert np.all(mask[5:19, 5:19] == 0.0)
    assert mask[0, 0] == 1.0 and np.all(mask[:2] == 1.0) and np.all(mask[:, -2:] == 1.0)


@pytest.mark.parametrize(("size", "wider"), [(64, 0), (119, 0), (120, 1), (240, 1)])
def test_the_draft_s_blur_widens_the_head_by_a_pixel_of_the_papers_slices_alone(size, wider):
    for closing, expected in ((0.0, wider), (slice_sizes.CLOSING, 0)):
        head = mask_from_contours(outline(size, 12, 50), closing) == 0.0
        assert np.flatnonzero(head.any(axis=1)).tolist() == list(range(12 - expected, 50 + expected))


@pytest.mark.parametrize(("size", "gap"), [(24, 2), (64, 2), (128, 6), (192, 8), (240, 10)])
def test_gaps_of_the_same_share_of_a_slice_are_closed_at_every_size(size, gap):
    start, stop = size // 6, size - size // 6
    for closing, widest in ((slice_sizes.CLOSING, gap), (0.0, 2)):
        for width in (widest, widest + 1):
            structure = outline(size, start, stop)
            structure[start, size // 2 : size // 2 + width] = 0.0
            filled = mask_from_contours(structure, closing)[size // 2, size // 2] == 0.0
            assert filled == (width == widest), (closing, width)


@pytest.mark.parametrize("size", [48, 64, 96, 120, 128, 160, 192, 240])
def test_real_maps_pass_at_every_size_of_slices(size):
    # A head of the size that heads have in BraTS slices, once whole and once with an open outline.
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    radius = np.hypot(rows / 0.45, columns / 0.36)
    image = np.where(radius < 1.0, 0.4 + 0.2 * (radius < 0.3), 0.0).astype(np.float32)[None, ..., None]
    config = configs.StructureMapConfig()
    structure = structure_maps.structure_map(image, config).numpy()
    background = structure_maps.background_of(image, config).numpy()
    opened = structure * (1.0 - ((rows < 0.0) & (np.abs(columns) < 0.15)).astype(np.float32)[..., None])
    closed_error, open_error = mask_errors(
        np.concatenate([structure, opened])[..., 0], np.tile(background[..., 0], (2, 1, 1))
    )
    assert closed_error < 0.045
    assert open_error > 0.1


def test_an_open_outline_stays_hollow():
    structure = outline()
    structure[4, 8:16] = 0.0
    mask = mask_from_contours(structure)
    assert np.all(mask[9:15, 9:15] == 1.0)


def test_the_blur_closes_a_gap_of_one_pixel():
    structure = outline()
    structure[4, 12] = 0.0
    assert np.all(mask_from_contours(structure)[8:16, 8:16] == 0.0)


def test_what_lies_inside_an_outline_does_not_matter():
    structure = outline()
    expected = mask_from_contours(structure)
    structure[10:12, 10:12] = 1.0
    np.testing.assert_array_equal(mask_from_contours(structure), expected)


def test_the_map_is_not_changed():
    structure = outline().astype(np.uint8)
    before = structure.copy()
    mask_from_contours(structure)
    np.testing.assert_array_equal(structure, before)


def test_an_empty_map_is_all_background():
    np.testing.assert_array_equal(mask_from_contours(np.zeros((8, 8))), np.ones((8, 8)))


def test_the_error_is_the_share_of_pixels_that_differ():
    implied = mask_from_contours(outline())
    wrong = implied.copy()
    wrong[0, :12] = 0.0
    errors = mask_errors(np.stack([outline()] * 3), np.stack([implied, wrong, 1.0 - implied]))
    assert errors.dtype == np.float32
    assert errors == pytest.approx([0.0, 12 / 24**2, 1.0])


def test_an_open_outline_fails_where_a_closed_one_passes():
    structure = outline()
    background = mask_from_contours(structure)
    structure[4, 8:16] = 0.0
    closed, opened = mask_errors(np.stack([outline(), structure]), np.stack([background, background]))
    assert closed <= 0.05 < opened


def test_maps_and_masks_must_be_pairs():
    with pytest.raises(ValueError):
        mask_errors(np.zeros((2, 8, 8)), np.zeros((3, 8, 8)))
