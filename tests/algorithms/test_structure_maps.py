"""Algorithms 1 and 2 on images small enough to work out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import fusion, structure_maps
from mmsynth_tf.configs import tree

CONFIG = configs.StructureMapConfig()


def config(**settings) -> configs.StructureMapConfig:
    return tree.override(CONFIG, settings)


def noise(rng: np.random.Generator, count: int = 1, size: int = 16) -> tf.Tensor:
    return tf.constant(rng.uniform(size=(count, size, size, 1)), tf.float32)


def step_image(left=0.0, right=1.0, size=8) -> tf.Tensor:
    """[1, size, size, 1]: `left` in the left half, `right` in the right half."""
    image = np.full((1, size, size, 1), left, np.float32)
    image[:, :, size // 2 :] = right
    return tf.constant(image)


def square(size: int, start: int, stop: int) -> np.ndarray:
    """[1, size, size, 1]: 1 in rows and columns start..stop-1."""
    image = np.zeros((1, size, size, 1), np.float32)
    image[:, start:stop, start:stop] = 1.0
    return image


@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (1.0, 0.0), (0.2, 0.3)])
def test_a_step_is_an_edge_two_pixels_wide(left, right):
    # Sobel's dx spans the two columns at the step, where after scaling it is 1 (rising) or 0 (falling); elsewhere the
    # other. The mean is 2/8 away from the flat part, so the step stands out by 3/4 and the flat part by -1/4.
    edges = structure_maps.structure_map(step_image(left, right), config(beta=0.7))[0, :, :, 0]
    np.testing.assert_array_equal(edges, np.tile([0, 0, 0, 1, 1, 0, 0, 0], (8, 1)))
    assert not np.any(structure_maps.structure_map(step_image(left, right), config(beta=0.8)))


@pytest.mark.parametrize("extract", [structure_maps.structure_map, structure_maps.soft_structure_map])
def test_a_constant_image_has_no_edges(extract):
    edges = extract(tf.fill([1, 8, 8, 1], 0.5), CONFIG)
    assert np.all(np.isfinite(edges)) and np.max(edges) < 0.1


def test_the_soft_map_approaches_the_hard_one_as_its_temperature_falls(rng):
    image = noise(rng, 3)
    hard = structure_maps.structure_map(image, CONFIG).numpy()
    distance = [
        np.abs(structure_maps.soft_structure_map(image, CONFIG, temperature=t) - hard).mean()
        for t in (0.1, 0.01, 0.0001)
    ]
    assert distance[0] > distance[1] > distance[2] and distance[2] < 1e-2


def test_the_soft_map_is_halfway_at_the_threshold():
    # The step stands out by 3/4 (see above), falling edges by -1/4 or less: 1 - (1 - sigmoid(0)) (1 - 0) = 1/2.
    edges = structure_maps.soft_structure_map(step_image(), config(beta=0.75))[0, 0, :, 0].numpy()
    np.testing.assert_allclose(edges, [0, 0, 0, 0.5, 0.5, 0, 0, 0], atol=1e-5)


def test_only_the_soft_map_has_a_gradient(rng):
    image = tf.Variable(noise(rng))
    with tf.GradientTape(persistent=True) as tape:
        hard = structure_maps.structure_map(image, CONFIG)
        soft = structure_maps.soft_structure_map(image, CONFIG)
    assert tape.gradient(hard, image) is None
    gradient = tape.gradient(soft, image).numpy()
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


def test_maps_do_not_depend_on_the_image_s_scale_and_level(rng):
    image = noise(rng)
    expected = structure_maps.structure_map(image, CONFIG)
    np.testing.assert_array_equal(structure_maps.structure_map(4.0 * image + 8.0, CONFIG), expected)


FILTERS = {
    "blur before": {"blur_before": 1.0},
    "blur after": {"blur_after": 0.7},
    "median": {"median": 3},
    "background": {"background": square(16, 4, 12)},
}


@pytest.mark.parametrize("filters", [{}, *FILTERS.values()], ids=["plain", *FILTERS])
def test_a_batch_gives_what_its_images_give_alone(rng, filters):
    images = noise(rng, 3) * tf.constant([1.0, 5.0, 0.1])[:, None, None, None]
    together = structure_maps.structure_map(images, CONFIG, **filters)
    for row in range(3):
        alone = structure_maps.structure_map(images[row : row + 1], CONFIG, **filters)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


def test_a_batch_gives_the_soft_maps_that_its_images_give_alone(rng):
    images = noise(rng, 3) * tf.constant([1.0, 5.0, 0.1])[:, None, None, None]
    together = structure_maps.soft_structure_map(images, CONFIG)
    for row in range(3):
        alone = structure_maps.soft_structure_map(images[row : row + 1], CONFIG)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_changes_the_map_and_keeps_it_binary(rng, name):
    image = noise(rng)
    edges = structure_maps.structure_map(image, CONFIG, **FILTERS[name]).numpy()
    assert set(np.unique(edges)) <= {0.0, 1.0}
    assert np.any(edges != structure_maps.structure_map(image, CONFIG))


def test_a_median_drops_lone_pixels_and_fills_lone_gaps():
    lone = square(9, 4, 5)
    assert not np.any(structure_maps._binary_median(lone, 3))
    np.testing.assert_array_equal(structure_maps._binary_median(1.0 - lone, 3), np.ones_like(lone))


@pytest.mark.parametrize(("window", "kept"), [(3, True), (5, False)])
def test_a_median_keeps_what_fills_most_of_its_window(window, kept):
    # Nine pixels fill a window of 9 and are a minority in one of 25.
    assert structure_maps._binary_median(square(11, 4, 7), window).shape == (1, 11, 11, 1)
    assert np.any(structure_maps._binary_median(square(11, 4, 7), window)) == kept


def test_masking_removes_edges_in_the_background():
    background = 1.0 - square(8, 0, 4)
    edges = structure_maps.structure_map(step_image(), CONFIG, background=background).numpy()
    expected = np.zeros((8, 8))
    expected[:4, 3] = 1
    np.testing.assert_array_equal(edges[0, :, :, 0], expected)


def test_a_blur_keeps_the_mean_and_spreads_a_pixel_symmetrically():
    blurred = structure_maps.gaussian_blur(square(15, 7, 8), 1.0)[0, :, :, 0].numpy()
    assert blurred.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(blurred, blurred[::-1], atol=1e-7)
    np.testing.assert_allclose(blurred, blurred.T, atol=1e-7)
    # Neighbours of a Gaussian of sigma 1 differ by exp(-1/2).
    assert blurred[7, 8] / blurred[7, 7] == pytest.approx(np.exp(-0.5), abs=1e-5)


def test_background_is_one_outside_the_head():
    np.testing.assert_array_equal(structure_maps.background_mask(square(8, 2, 6)), 1.0 - square(8, 2, 6))


def test_pixels_at_the_threshold_are_background():
    image = 0.5 * square(8, 2, 6)
    assert np.all(structure_maps.background_mask(image, threshold=0.5) == 1.0)
    np.testing.assert_array_equal(structure_maps.background_mask(image, threshold=0.49), 1.0 - square(8, 2, 6))


def test_holes_belong_to_the_head_unless_asked_otherwise():
    image = square(10, 2, 8) - square(10, 4, 6)
    np.testing.assert_array_equal(structure_maps.background_mask(image), 1.0 - square(10, 2, 8))
    np.testing.assert_array_equal(structure_maps.background_mask(image, fill_holes=False), 1.0 - image)


def test_settings_say_whether_holes_belong_to_the_head():
    image = square(10, 2, 8) - square(10, 4, 6)
    for fill_holes in (True, False):
        found = structure_maps.background_of(image, config(background_expand=0, fill_holes=fill_holes))
        np.testing.assert_array_equal(found, structure_maps.background_mask(image, fill_holes=fill_holes))


def test_a_bay_that_opens_to_the_border_is_background():
    image = square(10, 2, 8)
    image[:, 2:6, 4] = 0.0
    np.testing.assert_array_equal(structure_maps.background_mask(image), 1.0 - image)


def test_only_parts_with_a_seed_are_kept():
    region = np.zeros((2, 12, 14, 1), np.float32)
    region[:, 1:4, 1:4], region[:, 6:11, 5:13], region[:, 4, 4] = 1.0, 1.0, 1.0
    seeds = np.zeros_like(region)
    seeds[0, 2, 2], seeds[1, 10, 12], seeds[1, 0, 0] = 1.0, 1.0, 1.0
    found = structure_maps.connected_to(seeds, region).numpy()
    expected = np.zeros_like(region)
    expected[0, 1:4, 1:4], expected[1, 6:11, 5:13] = 1.0, 1.0
    np.testing.assert_array_equal(found, expected)


def test_a_hole_that_touches_outside_only_at_a_corner_stays_inside():
    # Background connects over edges, not corners.
    image = square(8, 2, 6)
    image[:, 2, 2] = image[:, 3, 3] = 0.0
    filled = 1.0 - structure_maps.background_mask(image)[0, :, :, 0]
    assert filled[3, 3] == 1.0 and filled[2, 2] == 0.0


@pytest.mark.parametrize("size", [40, 48])
@pytest.mark.parametrize("expand", [2, 4])
def test_the_head_grows_by_about_half_of_p_on_each_side(size, expand):
    # The resize magnifies about the centre by (size + p) / size: a head of nearly full size grows by p/2 a side.
    margin = expand // 2 + 1
    head = (
        1.0
        - structure_maps.background_mask(square(size, margin, size - margin), expand=(expand, expand))[
            0, :, :, 0
        ].numpy()
    )
    rows, columns = np.nonzero(head)
    for positions in (rows, columns):
        assert margin - expand // 2 - 1 <= positions.min() <= margin - expand // 2 + 1
        assert positions.min() == size - 1 - positions.max()


@pytest.mark.parametrize(
    ("size", "p", "expected"),
    [
        ((240, 240), 5, (5, 5)),
        ((184, 144), 5, (4, 3)),  # 3.83 and 3.
        ((64, 64), 5, (1, 1)),  # 1.33.
        ((16, 16), 5, (1, 1)),  # 0.33, but no rim is narrower.
        ((480, 240), 5, (10, 5)),
        ((64, 64), 0, (0, 0)),
    ],
)
def test_p_is_that_of_slices_of_240_pixels_and_follows_their_size(size, p, expected):
    assert structure_maps.expansion(size, config(background_expand=p)) == expected


@pytest.mark.parametrize(("scale", "grown"), [(1, 1), (2, 2), (4, 5)])
def test_the_head_of_a_slice_grows_by_the_same_share_at_every_size(scale, grown):
    # p is 1, 2 and 5 at 60, 120 and 240 pixels: 54 x 61/60 = 54.9, 108 x 122/120 = 109.8, 216 x 245/240 = 220.5.
    image = square(60 * scale, 3 * scale, 57 * scale)
    before, after = (
        int(np.sum(structure_maps.background_of(image, config(background_expand=p))[0, 30 * scale] < 0.5))
        for p in (0, 5)
    )
    assert after - before == grown


def test_labels_of_a_small_slice_hardly_reach_out_of_its_head():
    # At 64 pixels a rim of 5 pixels let a lesion lie two or three pixels outside of the head on each side.
    head = square(64, 8, 56)
    background = structure_maps.background_of(head, CONFIG)
    outside = np.concatenate([square(64, 6, 20), square(64, 9, 20), square(64, 45, 58)]).astype(np.uint8)
    assert fusion.fits(background, outside).numpy().tolist() == [[False, True, False]]


def test_expansion_keeps_the_size_and_stays_binary(rng):
    image = rng.uniform(size=(2, 12, 20, 1)).astype(np.float32)
    mask = structure_maps.background_mask(image, threshold=0.5, expand=(5, 3)).numpy()
    assert mask.shape == image.shape and set(np.unique(mask)) <= {0.0, 1.0}


def test_masks_of_a_batch_are_those_of_its_images():
    # The second image needs more passes to flood than the first.
    spiral = square(16, 2, 14)
    spiral[:, 3, 2:13] = spiral[:, 3:13, 12] = spiral[:, 12, 4:13] = spiral[:, 5:13, 4] = 0.0
    images = np.concatenate([square(16, 4, 9) - square(16, 5, 8), spiral])
    together = structure_maps.background_mask(images)
    for row in range(2):
        np.testing.assert_array_equal(together[row], structure_maps.background_mask(images[row : row + 1])[0])
    np.testing.assert_array_equal(together[1], 1.0 - spiral[0])


def test_the_lesion_free_mask_keeps_what_a_lesion_encloses():
    label = np.zeros((1, 6, 6, 1), np.uint8)
    label[0, 1:5, 1:5] = 4
    label[0, 2:4, 2:4] = 0
    np.testing.assert_array_equal(structure_maps.lesion_free_mask(label), (label == 0).astype(np.float32))
