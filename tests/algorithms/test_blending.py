"""A made lesion in a real image."""

import numpy as np

from mmsynth_tf.algorithms import blending

SIZE = 48


def lesion_in_the_middle(radius=6):
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    return np.hypot(rows, columns) < radius


def head():
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    return np.hypot(rows, columns) < 20


def test_all_but_the_lesion_and_its_seam_stays(rng):
    own = np.where(head(), rng.uniform(0.2, 0.8, (SIZE, SIZE)), 0).astype(np.float32)
    made = np.where(head(), rng.uniform(0.2, 0.8, (SIZE, SIZE)), 0).astype(np.float32)
    lesion = lesion_in_the_middle()
    result = blending.blend(own, made, lesion, (1.0, 1.0))
    assert result.dtype == np.float32
    far = ~lesion_in_the_middle(radius=6 + 6)
    np.testing.assert_array_equal(result[far], own[far])
    assert (result[lesion] != own[lesion]).all()
    # The lesion's texture is that of the made one.
    assert np.corrcoef(result[lesion], made[lesion])[0, 1] > 0.99


def test_lesion_is_brighter_than_its_surroundings_by_as_much_as_where_it_was_made():
    lesion = lesion_in_the_middle()
    own = np.where(head(), 0.3, 0).astype(np.float32)
    made = np.where(head(), np.where(lesion, 0.8, 0.6), 0).astype(np.float32)
    result = blending.blend(own, made, lesion, (1.0, 1.0))
    np.testing.assert_allclose(result[lesion], 0.5, atol=1e-3)
    outside = head() & ~lesion
    assert (result[outside] >= 0.3 - 1e-6).all()


def test_brightness_follows_an_image_that_is_unevenly_lit():
    lesion = lesion_in_the_middle()
    field = np.linspace(-0.2, 0.2, SIZE, dtype=np.float32)
    own = np.where(head(), 0.4 + field, 0).astype(np.float32)
    made = np.where(head(), np.where(lesion, 0.6, 0.4), 0).astype(np.float32)
    result = blending.blend(own, made, lesion, (1.0, 1.0))
    left, right = (result[SIZE // 2, SIZE // 2 + step] for step in (-5, 5))
    # As the tissue that is nearest, which is up to ten pixels further apart than the ten of these two.
    assert 10 * 0.4 / 47 < right - left < 20 * 0.4 / 47


def test_nothing_is_drawn_outside_the_head_or_where_nothing_was_made():
    own = np.where(head(), 0.5, 0).astype(np.float32)
    lesion = np.zeros((SIZE, SIZE), bool)
    lesion[:, :12] = True
    made = np.where(np.indices((SIZE, SIZE))[0] < SIZE // 2, 0.9, 0).astype(np.float32)
    result = blending.blend(own, made, lesion, (1.0, 1.0))
    np.testing.assert_array_equal(result > 0, own > 0)
    np.testing.assert_array_equal(result[SIZE // 2 + 1 :], own[SIZE // 2 + 1 :])


def test_without_a_lesion_nothing_changes():
    own = np.where(head(), 0.5, 0).astype(np.float32)
    np.testing.assert_array_equal(blending.blend(own, own * 0.5, np.zeros((SIZE, SIZE), bool), (1.0, 1.0)), own)


def test_seam_is_as_wide_in_smaller_pixels(rng):
    own, made = rng.uniform(0.2, 0.8, (2, SIZE, SIZE)).astype(np.float32)
    lesion = np.indices((SIZE, SIZE))[0] < SIZE // 2
    widths = []
    for spacing in (1.0, 0.5):
        result = blending.blend(own, made, lesion, (spacing, spacing))
        widths.append(np.count_nonzero((result != own).any(axis=1)) - SIZE // 2)
    # Four standard deviations.
    assert widths == [4, 8]


def test_volumes_have_a_spacing_for_each_axis(rng):
    own = rng.uniform(0.2, 0.8, (30, 30, 6)).astype(np.float32)
    made = rng.uniform(0.2, 0.8, (30, 30, 6)).astype(np.float32)
    lesion = np.zeros(own.shape, bool)
    lesion[12:18, 12:18, 2] = True
    result = blending.blend(own, made, lesion, (1.0, 1.0, 5.0))
    np.testing.assert_array_equal(result[:, :, 0], own[:, :, 0])
    assert (result[12:18, 12:18, 2] != own[12:18, 12:18, 2]).all()
