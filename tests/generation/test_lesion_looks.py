"""Generated lesions get the brightness and the texture of real ones, and nothing else changes."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from mmsynth_tf.errors import UserError
from mmsynth_tf.generation.label_pool import LabelPool
from mmsynth_tf.generation.lesion_looks import LesionLooks

SIZE, COUNT = 64, 60
# Brightness of healthy tissue and of two classes in two modalities, in real slices.
HEALTHY, FIRST, SECOND = (0.25, 0.5), (0.75, 0.2), (0.5, 0.9)
# The generated head is brighter, and its lesion flat, with a brightness of its own.
MADE_HEALTHY, MADE_LESION = (0.27, 0.45), (0.6, 0.6)
DEVIATION = 0.05


@pytest.fixture
def real() -> tuple[np.ndarray, LabelPool]:
    """Three slices of two patients, of which the first two have a lesion whose modalities vary together."""
    rng = np.random.default_rng(0)
    image, label = np.zeros((3, SIZE, SIZE, 2), np.float32), np.zeros((3, SIZE, SIZE), np.uint8)
    image[:, 4:60, 4:60] = HEALTHY
    label[:2, 10:30, 10:30], label[:2, 15:25, 15:25] = 1, 2
    image[label == 1], image[label == 2] = FIRST, SECOND
    image[label > 0] += DEVIATION * rng.standard_normal(((label > 0).sum(), 1))
    pool = LabelPool(tf.constant(label[..., None]), ["a:0", "b:0", "b:1"], np.zeros(3), np.ones((3, 4)))
    return np.moveaxis(image, -1, 1)[..., None].astype(np.float16), pool


@pytest.fixture
def looks(real) -> LesionLooks:
    return LesionLooks(*real, {"a": "a", "b": "b"})


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    """A generated slice and its label."""
    image, label = np.zeros((SIZE, SIZE, 2), np.float32), np.zeros((SIZE, SIZE), np.uint8)
    image[6:58, 6:58] = MADE_HEALTHY
    label[20:44, 20:44], label[26:38, 26:38] = 1, 2
    image[label > 0] = MADE_LESION
    return image, label


def drawn(looks: LesionLooks, image: np.ndarray, label: np.ndarray, lesion: np.ndarray | None = None) -> np.ndarray:
    """Results of several seeds: [COUNT, H, W, n]."""
    lesion = label > 0 if lesion is None else lesion
    return np.stack([looks.applied(image, label, lesion, "a:0", np.random.default_rng(seed)) for seed in range(COUNT)])


def test_classes_are_as_bright_relative_to_healthy_tissue_as_real_ones(looks, made):
    found = drawn(looks, *made)
    for k, expected in ((1, FIRST), (2, SECOND)):
        inner = scipy.ndimage.binary_erosion(made[1] == k, iterations=2)
        ratio = found[:, inner].mean(axis=(0, 1)) / MADE_HEALTHY
        np.testing.assert_allclose(ratio, np.divide(expected, HEALTHY), rtol=0.12)


def test_a_class_that_no_real_slice_shows_stays_as_it_is_drawn(looks, made):
    image, label = made
    label[22:24, 22:24] = 7
    found = drawn(looks, image, label)
    assert np.all(found[:, 22:24, 22:24].max(axis=(1, 2)) > 0.3)
    assert not np.isnan(found).any()


def test_a_flat_lesion_gets_the_texture_of_real_ones_in_all_modalities_together(looks, made):
    found = drawn(looks, *made)
    inner = scipy.ndimage.binary_erosion(made[1] == 1, iterations=2)
    deviations = found[:, inner] - found[:, inner].mean(axis=1, keepdims=True)
    # Borders between classes are softened, so some of the variance is lost.
    assert 0.4 * DEVIATION < deviations[..., 0].std() < 1.3 * DEVIATION
    assert np.corrcoef(deviations.reshape(-1, 2).T)[0, 1] > 0.5


def test_a_lesion_that_varies_enough_gets_no_further_texture(looks, made):
    image, label = made
    rng = np.random.default_rng(1)
    image[label > 0] += 0.06 * rng.standard_normal((np.sum(label > 0), 2)).astype(np.float32)
    changed = drawn(looks, image, label)[:, label == 1] - image[label == 1]
    inner = scipy.ndimage.binary_erosion(label == 1, iterations=2)[label == 1]
    assert changed[:, inner].std(axis=1).max() < 0.02


def test_what_lies_far_from_the_lesion_stays(looks, made):
    image, label = made
    far = scipy.ndimage.distance_transform_edt(label == 0) > 4
    for found in drawn(looks, image, label):
        np.testing.assert_array_equal(found[far], image[far])
        assert found.dtype == image.dtype and found.max() <= 1.0


def test_a_patient_s_own_lesion_is_neither_changed_nor_taken_for_healthy_tissue(looks, made):
    image, label = made
    label[8:18, 46:56] = 1
    image[8:18, 46:56] = 1.0
    lesion = (label > 0) & (np.arange(SIZE)[:, None] >= 20)
    found = drawn(looks, image, label, lesion)
    np.testing.assert_array_equal(found[:, 8:15, 49:56], np.ones((COUNT, 7, 7, 2), np.float32))
    inner = scipy.ndimage.binary_erosion(lesion & (label == 1), iterations=2)
    ratio = found[:, inner].mean(axis=(0, 1)) / MADE_HEALTHY
    np.testing.assert_allclose(ratio, np.divide(FIRST, HEALTHY), rtol=0.12)


def test_slices_without_a_generated_lesion_stay(looks, made):
    image, label = made
    np.testing.assert_array_equal(
        looks.applied(image, label, np.zeros_like(label, bool), "a:0", np.random.default_rng(0)), image
    )


def test_a_shape_from_elsewhere_gets_the_looks_of_some_real_lesion(looks, made):
    found = looks.applied(made[0], made[1], made[1] > 0, "somewhere:3", np.random.default_rng(0))
    assert not np.array_equal(found, made[0])


def test_slices_without_lesions_are_refused(real):
    images, pool = real
    nothing = LabelPool(tf.zeros_like(pool.labels), pool.sources, pool.positions, pool.frames)
    with pytest.raises(UserError, match="No training slice has a lesion to take"):
        LesionLooks(images, nothing, {})
