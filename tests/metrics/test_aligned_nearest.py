"""Planted copies of every kind are found among generated heads, and new heads are not taken for copies."""

import numpy as np
import pytest

from mmsynth_tf.experiments.memorisation.planted import KINDS, NEW, planted
from mmsynth_tf.metrics import alignment
from mmsynth_tf.metrics.aligned_nearest import AlignedSearch, check_copies
from mmsynth_tf.metrics.alignment import Details

SIZE, MODALITIES, PATIENTS, SLICES = 64, 3, 8, 2
KNOWN_PATIENTS = np.repeat([f"p{i}" for i in range(PATIENTS)], SLICES)


def smooth_noise(rng, width):
    """Numbers around 0, even over about `width` pixels: [SIZE, SIZE]."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * np.exp(-((frequency * width * 3) ** 2))).real
    return noise / noise.std()


def heads(seed, patients):
    """Slices [patients * SLICES, MODALITIES, SIZE, SIZE] in [0, 1]: ellipses with an anatomy that all share in part."""
    rng, shared = np.random.default_rng(seed), smooth_noise(np.random.default_rng(0), 3)
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for _ in range(patients):
        own, (height, width) = smooth_noise(rng, 2), rng.uniform(0.36, 0.42, 2) * SIZE
        inside = np.hypot(rows / height, columns / (0.85 * width)) < 1
        for _ in range(SLICES):
            tissue = shared + own + 0.5 * smooth_noise(rng, 2)
            contrasts = [np.tanh(sign * tissue + smooth_noise(rng, 3) / 3) for sign in (1, -1, 0.5)]
            yield np.where(inside, 0.5 + 0.4 * np.array(contrasts), 0).astype(np.float32)


@pytest.fixture(scope="module")
def training():
    return np.stack(list(heads(1, PATIENTS)))


@pytest.fixture(scope="module")
def search(training):
    return AlignedSearch(Details.of(training), KNOWN_PATIENTS)


@pytest.fixture(scope="module")
def chance(search, training):
    return search.nearest(Details.of(training), KNOWN_PATIENTS).closeness


@pytest.mark.parametrize("kind", KINDS)
def test_planted_copies_are_found_with_their_slice(kind, search, chance, training):
    found = search.nearest(Details.of(planted(training, KINDS[kind], seed=3)))
    assert np.mean(check_copies(found.closeness, chance).copied) >= 0.9
    assert np.mean(found.index == np.arange(len(training))) >= 0.9


@pytest.mark.parametrize("kind", NEW)
def test_slices_of_new_patients_are_not_flagged(kind, search, chance):
    new = np.stack(list(heads(2, PATIENTS)))
    found = search.nearest(Details.of(planted(new, NEW[kind], seed=3)))
    assert not check_copies(found.closeness, chance).suspected


def test_the_alignment_of_a_moved_copy_is_recovered(search, training):
    angle, mirror = np.deg2rad(12), -1
    centre = np.full((len(training), 2), (SIZE - 1) / 2)
    source = centre + np.array([2, -1])
    matrices = alignment.similarities(np.full(len(training), 1.08), angle, mirror, source, centre[0])
    found = search.nearest(Details.of(alignment.warped(training, matrices, (SIZE, SIZE))))
    np.testing.assert_allclose(np.abs(found.turned), 12, atol=1.5)
    assert np.all(found.mirrored)
    # From the training slice to its copy: the other way round.
    np.testing.assert_allclose(np.sqrt(np.abs(np.linalg.det(found.matrix[:, :2, :2]))), 1 / 1.08, atol=0.02)


def test_a_slices_own_patient_is_left_out(search, training):
    found = search.nearest(Details.of(training), KNOWN_PATIENTS)
    assert not np.any(KNOWN_PATIENTS[found.index] == KNOWN_PATIENTS)


def test_one_patient_alone_leaves_nothing_to_search(training):
    alone = AlignedSearch(Details.of(training[:2]), ["p", "p"])
    assert np.all(alone.nearest(Details.of(training[:2])).closeness.ratio == 1)
    with pytest.raises(ValueError, match="no slice of another patient"):
        alone.nearest(Details.of(training[:2]), ["p", "p"])


def test_a_copy_without_one_modality_is_found(search, chance, training):
    present = np.ones((len(training), MODALITIES))
    present[:, 1] = 0
    found = search.nearest(Details.of(training, present))
    np.testing.assert_allclose(found.closeness.distance, 0, atol=1e-3)


def test_empty_slices_are_as_far_as_can_be(search):
    found = search.nearest(Details.of(np.zeros((2, MODALITIES, SIZE, SIZE))))
    assert np.all(found.closeness.distance == 1)


def test_contrast_and_inversion_leave_the_details_alike(training):
    images = training[:1]
    found = Details.of(images).detail
    brighter = Details.of(0.3 + 0.5 * np.where(images > 0, images, -0.6)).detail
    np.testing.assert_allclose(brighter, found, atol=1e-3)
    np.testing.assert_allclose(Details.of(np.where(images > 0, 1 - images, 0)).detail, -found, atol=1e-3)
