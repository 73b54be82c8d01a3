"""The guided filter against its definition, window by window."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.algorithms import guided_filter

SIZE, RADIUS, EPSILON = 9, 2, 1e-3


def literal(image, guide, mask):
    """He et al. 2013, equations 6 and 8, over the pixels of the mask alone, with slopes that keep the contrast."""

    def windows(row, column):
        nearby = slice(max(row - RADIUS, 0), row + RADIUS + 1), slice(max(column - RADIUS, 0), column + RADIUS + 1)
        inside = mask[nearby] > 0
        return lambda values: values[nearby][inside]

    slope, offset = np.zeros_like(image), np.zeros_like(image)
    for row, column in np.argwhere(mask > 0):
        own = windows(row, column)
        x, y = own(guide), own(image)
        direction = np.sign(np.mean(x * y) - x.mean() * y.mean())
        slope[row, column] = direction * np.sqrt(y.var() / (x.var() + EPSILON))
        offset[row, column] = y.mean() - slope[row, column] * x.mean()
    result = np.zeros_like(image)
    for row, column in np.argwhere(mask > 0):
        own = windows(row, column)
        result[row, column] = own(slope).mean() * guide[row, column] + own(offset).mean()
    return result


@pytest.fixture
def arrays(rng):
    image, guide = rng.uniform(size=(2, 3, SIZE, SIZE, 1)).astype(np.float32)
    mask = (rng.uniform(size=image.shape) < 0.7).astype(np.float32)
    mask[0] = 1.0
    return image, guide, mask


def test_it_goes_window_by_window_over_the_mask(arrays):
    found = guided_filter.guided_filter(*map(tf.constant, arrays), RADIUS)[0].numpy()
    expected = np.stack([literal(*each) for each in zip(*(a[..., 0] for a in arrays), strict=True)])[..., None]
    inside = arrays[-1] > 0
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


def test_what_lies_outside_of_the_mask_does_not_count(arrays):
    image, guide, mask = arrays
    other = np.where(mask > 0, image, 1.0 - image)
    first, second = (
        guided_filter.guided_filter(*map(tf.constant, (a, guide, mask)), RADIUS)[0].numpy() for a in (image, other)
    )
    np.testing.assert_array_equal(first[mask > 0], second[mask > 0])


@pytest.mark.parametrize("slope", [0.8, -0.8])
def test_the_guides_edges_come_out_in_the_images_direction(slope, rng):
    guide = (rng.uniform(size=(1, SIZE, SIZE, 1)) < 0.5).astype(np.float32)
    image = 0.5 + slope * (guide - 0.5)
    noisy = image + 0.2 * rng.standard_normal(image.shape).astype(np.float32)
    # A radius beyond the image: all of it is one window.
    found = guided_filter.guided_filter(*map(tf.constant, (noisy, guide, np.ones_like(guide))), 2 * SIZE)[0].numpy()
    assert np.abs(found - image).max() < 0.15
    assert len(np.unique(found.round(4))) == 2
    np.testing.assert_allclose(found.std(), noisy.std(), rtol=0.01)


def test_a_guide_is_followed_as_far_as_it_explains_the_image(rng):
    guide, noise = rng.uniform(size=(2, 1, 4 * SIZE, 4 * SIZE, 1)).astype(np.float32)
    mask = np.ones_like(guide)
    image = 1.0 - guide

    def weight(image, guide):
        return guided_filter.lines(*map(tf.constant, (image, guide, mask)), 4).weight.numpy()

    assert weight(image, guide).min() > 0.9
    assert weight(image, noise).max() < 0.1
    # Half of the variance is the guide's, so the weight is about the square of a half.
    assert weight(image + noise, guide).mean() == pytest.approx(0.25, abs=0.1)
    assert np.all(weight(np.full_like(image, 0.5), guide) > 0)
