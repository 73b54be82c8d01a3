"""Real lesions in other real slices: image and label agree, and the rest stays."""

import numpy as np
import pytest
import scipy.ndimage

from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import lesion_slices, pasting

COUNT = 12


def paste_lesions(image, label, count, seed) -> lesion_slices.LesionSlices:
    return lesion_slices.draw_all(pasting.Pasting(image, label, np.zeros(len(label)), seed), count)


@pytest.fixture
def slices() -> tuple[np.ndarray, np.ndarray]:
    """Dark heads with two modalities; the first two have a bright lesion of classes 1 and 2, the third none."""
    image, label = np.zeros((3, 40, 40, 2), np.float16), np.zeros((3, 40, 40), np.uint8)
    image[:, 4:36, 4:36] = 0.25
    for number, corner in enumerate((8, 20)):
        box = slice(corner, corner + 6)
        label[number, box, box] = 1
        label[number, corner + 2 : corner + 4, box] = 2
        image[number, box, box] = 0.75
    return image, label


def test_labels_say_what_was_pasted_and_nothing_else_changed(slices):
    image, label = slices
    pasted = paste_lesions(image, label, COUNT, seed=1)
    own = label[pasted.recipient]
    np.testing.assert_array_equal(pasted.label[~pasted.placed], own[~pasted.placed])
    assert set(np.unique(pasted.label[pasted.placed])) == {1, 2}
    for new, old, placed in zip(pasted.image, image[pasted.recipient], pasted.placed, strict=True):
        far = scipy.ndimage.distance_transform_edt(~placed) > 6
        np.testing.assert_array_equal(new[far], old[far])
        assert not np.array_equal(new[placed], old[placed])


def test_lesions_lie_in_the_head_and_the_background_stays_0(slices):
    image, label = slices
    pasted = paste_lesions(image, label, COUNT, seed=2)
    head = (image[pasted.recipient] > 0).all(axis=-1)
    assert not np.any(pasted.placed & ~head)
    np.testing.assert_array_equal(pasted.image > 0, image[pasted.recipient] > 0)


def test_a_lesion_goes_into_another_slice_with_all_its_modalities(slices):
    pasted = paste_lesions(*slices, COUNT, seed=3)
    assert np.all(pasted.donor != pasted.recipient)
    assert set(pasted.donor) <= {0, 1}
    inside = np.stack([i[scipy.ndimage.binary_erosion(p, iterations=2)].mean(axis=0) for i, p in _large(pasted)])
    assert np.all(inside > 0.35)


def _large(pasted: lesion_slices.LesionSlices) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = zip(pasted.image.astype(np.float32), pasted.placed, strict=True)
    return [(i, p) for i, p in pairs if scipy.ndimage.binary_erosion(p, iterations=2).any()]


def test_a_draw_depends_on_its_number_alone(slices):
    few, many = (paste_lesions(*slices, count, seed=4) for count in (3, 5))
    np.testing.assert_array_equal(few.image, many.image[:3])
    assert len(np.unique(many.placed.reshape(5, -1), axis=0)) == 5


def test_a_missing_modality_of_the_donor_is_not_pasted_into_a_head_that_has_it(slices):
    image, label = slices
    image[0, ..., 1] = 0
    pasted = paste_lesions(image, label, COUNT, seed=5)
    for donor, recipient in zip(pasted.donor, pasted.recipient, strict=True):
        assert donor != 0 or not image[recipient, ..., 1].any()


def test_slices_without_lesions_are_refused(slices):
    with pytest.raises(UserError, match="No training slice has a lesion to take"):
        paste_lesions(slices[0], np.zeros_like(slices[1]), 1, seed=0)


def test_the_seam_and_the_smallest_lesion_follow_the_size_of_the_slices():
    """The same heads and lesions, at twice the pixels: as many donors, and a seam twice as wide."""
    widths = []
    for factor in (1, 2):
        image, label = np.full((3, 64, 64, 1), 0.25, np.float32), np.zeros((3, 64, 64), np.uint8)
        label[0, 20:23, 20:23], label[1, 20:30, 20:30] = 1, 1
        image[label > 0] = 0.75
        image, label = (x.repeat(factor, axis=1).repeat(factor, axis=2) for x in (image, label))
        pasted = paste_lesions(image, label, COUNT, seed=5)
        assert set(pasted.donor) == {1}
        healthy = pasted.recipient == 2
        changed = np.abs(pasted.image[healthy, ..., 0] - 0.25) > 0.05
        distances = [scipy.ndimage.distance_transform_edt(~placed) for placed in pasted.placed[healthy]]
        widths.append(max(distance[one].max() for distance, one in zip(distances, changed, strict=True)))
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.5) and widths[1] > widths[0]
