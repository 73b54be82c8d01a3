"""What is finer than a model's pixels comes from the source's volume."""

import dataclasses

import numpy as np
import pytest

from mmsynth_tf.patients import detail, field_of_view
from tests.fakes import fake_slice_models

DATA = fake_slice_models.DATA
SHAPE = (28, 32, 3)
RADIUS = 4


@pytest.fixture
def coarse_view():
    """Pixels of 2 x 2 voxels."""
    return field_of_view.training_view(SHAPE, dataclasses.replace(DATA, image_size=(16, 14)))


def with_detail(made, slices, lesion, source, view):
    """The made slices on the volume's grid, without detail and with it."""
    given = [detail.GivenModality(source, slices)]
    return tuple(detail.to_volume(made, given, lesion, view, radius) for radius in (0, RADIUS))


@pytest.fixture
def source(rng):
    x, y, _ = np.indices(SHAPE)
    return np.where(np.hypot(x - 14, y - 16) < 12, rng.uniform(0.1, 0.9, SHAPE), 0).astype(np.float32)


@pytest.mark.parametrize("slope", [0.5, -0.5])
def test_detail_has_the_direction_and_strength_of_what_goes_together(coarse_view, source, slope):
    slices = coarse_view.image_slices(source)
    made = np.where(slices > 0, 0.5 + slope * (slices - 0.5), 0).astype(np.float32)
    plain, volume = with_detail(made, slices, None, source, coarse_view)
    wanted = 0.5 + slope * (source - 0.5)
    inside = volume > 0
    np.testing.assert_array_equal(inside, plain > 0)
    # Less by what counts as flat: the variance of these slices is some times 1e-3.
    assert np.abs(volume - wanted)[inside].mean() < 0.25 * np.abs(plain - wanted)[inside].mean()


def test_detail_comes_from_the_modality_that_explains_the_slices_in_the_union_of_their_heads(coarse_view, source, rng):
    other = np.where(source > 0, rng.uniform(0.1, 0.9, SHAPE), 0).astype(np.float32)
    other[:14], source[18:] = 0, 0
    given = [detail.GivenModality(image, coarse_view.image_slices(image)) for image in (source, other)]
    made = np.where((given[0].slices > 0) | (given[1].slices > 0), 0.5, 0).astype(np.float32)
    made += 0.3 * np.where(given[0].slices > 0, given[0].slices - 0.5, 0)
    made = made.astype(np.float32)
    together = detail.to_volume(made, given, None, coarse_view, RADIUS)
    plain = detail.to_volume(made, given, None, coarse_view, 0)
    np.testing.assert_array_equal(together > 0, (source > 0) | (other > 0))
    alone = [detail.to_volume(made, [one], None, coarse_view, RADIUS) for one in given]
    both = (source > 0) & (other > 0)
    np.testing.assert_array_equal(plain > 0, together > 0)
    to_first, to_second = (np.abs(together - volume)[both].mean() for volume in alone)
    assert to_first < 0.3 * to_second


def test_lesions_get_no_detail_and_slices_of_their_own_pixels_stay(coarse_view, source):
    slices = coarse_view.image_slices(source)
    made = np.where(slices > 0, 1.0 - slices, 0).astype(np.float32)
    lesion = np.zeros(slices.shape, np.uint8)
    lesion[:, 5:11, 4:10] = 1
    plain, volume = with_detail(made, slices, lesion, source, coarse_view)
    changed = volume != plain
    assert changed.any() and not changed[10:18, 12:20].any()

    same = field_of_view.training_view(SHAPE, DATA)
    slices = same.image_slices(source)
    made = np.where(slices > 0, 1.0 - slices, 0).astype(np.float32)
    plain, volume = with_detail(made, slices, None, source, same)
    np.testing.assert_allclose(volume, plain, atol=1e-5)
