"""Painted lesions: image and label agree, classes look like those of real lesions, and the rest stays."""

import numpy as np
import pytest
import scipy.ndimage

from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import lesion_slices
from mmsynth_tf.generation.painting import Painting

COUNT = 16
PATIENTS, HEIGHTS = ["a", "a", "b"], np.full(3, 0.5)
# Brightness of healthy tissue and of two classes in two modalities.
HEALTHY, FIRST, SECOND = (0.25, 0.5), (0.75, 0.2), (0.5, 0.9)


@pytest.fixture
def slices() -> tuple[np.ndarray, np.ndarray]:
    """Heads with two modalities; the first two have a lesion of classes 1 and 2, the third none."""
    rng = np.random.default_rng(0)
    image, label = np.zeros((3, 64, 64, 2), np.float32), np.zeros((3, 64, 64), np.uint8)
    image[:, 4:60, 4:60] = HEALTHY
    for number, corner in enumerate((10, 30)):
        box = slice(corner, corner + 16)
        label[number, box, box] = 1
        label[number, corner + 4 : corner + 12, corner + 4 : corner + 12] = 2
        image[number][label[number] == 1], image[number][label[number] == 2] = FIRST, SECOND
        # Both modalities are bright at the same pixels.
        image[number][label[number] == 1] += 0.05 * rng.standard_normal((192, 1))
    return image.astype(np.float16), label


def paint(slices, seed: int, count: int = COUNT) -> lesion_slices.LesionSlices:
    return lesion_slices.draw_all(Painting(*slices, HEIGHTS, PATIENTS, seed), count)


def test_labels_say_what_was_painted_and_nothing_else_changed(slices):
    image, label = slices
    painted = paint(slices, seed=1)
    own = label[painted.recipient]
    np.testing.assert_array_equal(painted.label[~painted.placed], own[~painted.placed])
    assert painted.placed.any(axis=(1, 2)).all()
    for new, old, placed in zip(painted.image, image[painted.recipient], painted.placed, strict=True):
        far = scipy.ndimage.distance_transform_edt(~placed) > 4
        np.testing.assert_array_equal(new[far], old[far])
        assert not np.array_equal(new[placed], old[placed])
    np.testing.assert_array_equal(painted.image > 0, image[painted.recipient] > 0)


def test_classes_have_the_brightness_of_real_ones_in_every_modality(slices):
    painted = paint(slices, seed=2)
    inner = np.stack([scipy.ndimage.binary_erosion(p, iterations=2) for p in painted.placed])
    for k, expected in ((1, FIRST), (2, SECOND)):
        core = np.stack([scipy.ndimage.binary_erosion(la == k, iterations=2) for la in painted.label]) & inner
        np.testing.assert_allclose(painted.image[core].astype(np.float32).mean(axis=0), expected, atol=0.06)


def test_the_texture_varies_in_all_modalities_together(slices):
    painted = paint(slices, seed=3)
    core = np.stack([scipy.ndimage.binary_erosion(la == 1, iterations=1) for la in painted.label]) & painted.placed
    values = painted.image[core].astype(np.float32)
    assert np.std(values[:, 0]) > 0.01
    assert np.corrcoef(values.T)[0, 1] > 0.5


def test_no_two_lesions_have_the_same_shape(slices):
    painted = paint(slices, seed=4)
    areas = painted.placed.sum(axis=(1, 2))
    assert len(np.unique(areas)) > COUNT // 2


def test_a_draw_depends_on_seed_and_number_alone(slices):
    few, many, other = paint(slices, 5, 3), paint(slices, 5, 5), paint(slices, 6, 3)
    np.testing.assert_array_equal(few.image, many.image[:3])
    assert not np.array_equal(few.image, other.image)


def test_a_modality_that_the_recipient_lacks_stays_empty(slices):
    image, label = slices
    image[2, ..., 1] = 0
    painted = paint((image, label), seed=7)
    assert 2 in painted.recipient
    assert not painted.image[painted.recipient == 2][..., 1].any()
    assert set(painted.donor) == {0, 1}


def test_lesions_in_slices_that_lack_modalities_are_refused(slices):
    image, label = slices
    image[:2, ..., 1] = 0
    with pytest.raises(UserError, match="shows all modalities"):
        Painting(image, label, HEIGHTS, PATIENTS, 0)


def test_lengths_follow_the_size_of_the_slices(slices):
    """The same heads with twice the pixels: the seam is twice as wide."""
    widths = []
    for factor in (1, 2):
        image, label = (x.repeat(factor, axis=1).repeat(factor, axis=2) for x in slices)
        painted = lesion_slices.draw_all(Painting(image, label, HEIGHTS, PATIENTS, 8), 4)
        changed = (painted.image != image[painted.recipient]).any(axis=-1)
        widths.append(max(_distance(~p)[c].max() for c, p in zip(changed, painted.placed, strict=True)))
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.3)


def _distance(mask: np.ndarray) -> np.ndarray:
    return scipy.ndimage.distance_transform_cdt(mask, "taxicab")


def test_thin_rims_are_as_bright_as_thick_ones(slices):
    image, label = slices
    label[:2] = np.where(
        scipy.ndimage.binary_erosion(label[:2] > 0, np.ones((1, 3, 3))), label[:2], 3 * (label[:2] > 0)
    )
    image[label == 3] = (0.9, 0.9)
    painted = paint((image, label), seed=9)
    rims = [i[(la == 3) & p].mean() for i, la, p in zip(painted.image, painted.label, painted.placed, strict=True)]
    assert np.mean(rims) == pytest.approx(0.9, abs=0.05)


def test_the_seam_takes_up_the_tissue_around_it_also_where_a_modality_is_missing(slices):
    image, label = slices
    image[2, ..., 1] = 0
    image[2, 4:60, 4:32, 0], image[2, 4:60, 32:60, 0] = 0.1, 0.6
    painted = paint((image, label), seed=10, count=40)
    errors = []
    for new, placed, recipient in zip(painted.image[..., 0], painted.placed, painted.recipient, strict=True):
        far = ~scipy.ndimage.binary_dilation(placed)
        far[:, 26:38] = False  # Where both tissues are mixed.
        if recipient == 2:
            errors.append(np.abs(new - image[2, ..., 0])[far].max())
    assert errors and max(errors) < 0.15
