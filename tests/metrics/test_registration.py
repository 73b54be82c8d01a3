"""Agreement of modalities by measures that no loss contains."""

import numpy as np
import pytest
from scipy import ndimage

from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.experiments.fidelity import registration as fidelity_registration
from mmsynth_tf.metrics import registration
from tests.fakes import fakes, fakes_sets

ROWS, COLUMNS = (grid.ravel().astype(float) for grid in np.mgrid[:8, :8])
EVERYWHERE = np.ones((32, 32), bool)


def smooth(rng, size=32):
    return ndimage.gaussian_filter(rng.random((size, size)), 2.0)


def gradients(first, second):
    return registration.gradient_correlation([first, second], [EVERYWHERE, EVERYWHERE])[0, 1]


def test_mutual_information_is_one_for_any_contrast_and_zero_for_what_says_nothing():
    assert registration.mutual_information(ROWS, ROWS) == pytest.approx(1.0)
    assert registration.mutual_information(ROWS, np.exp(-ROWS)) == pytest.approx(1.0)
    # Each row holds every column once.
    assert registration.mutual_information(ROWS, COLUMNS) == pytest.approx(0.0, abs=1e-12)


def test_mutual_information_with_classes_that_are_merged_in_pairs_is_four_fifths():
    """Eight and four equal classes: H(a) = 3 bits, H(b) = I = 2 bits, so 2 · 2 / (3 + 2)."""
    assert registration.mutual_information(ROWS, ROWS // 2) == pytest.approx(0.8)


def test_too_few_pixels_or_no_contrast_have_no_mutual_information():
    assert np.isnan(registration.mutual_information(ROWS[:63], ROWS[:63]))
    assert np.isnan(registration.mutual_information(np.ones(64), np.ones(64)))


def test_gradients_agree_whatever_is_bright_and_less_after_a_shift(rng):
    image = smooth(rng)
    assert gradients(image, 1.0 - image) == pytest.approx(1.0)
    assert gradients(image, np.roll(image, 3, axis=1)) < 0.7


def test_pixels_outside_either_region_do_not_count(rng):
    image, other = smooth(rng), smooth(rng)
    left = np.zeros((32, 32), bool)
    left[:, :16] = True
    # Alike on the left and as far beyond it as a gradient reaches.
    mixed = np.where(np.arange(32) < 24, image, other)
    assert registration.gradient_correlation([image, mixed], [EVERYWHERE, left])[0, 1] == pytest.approx(1.0)
    assert registration.gradient_correlation([image, mixed], [left, ~left])[0, 1] != pytest.approx(1.0)
    assert np.isnan(registration.gradient_correlation([image, mixed], [left, left & False])[0, 1])


@pytest.mark.parametrize(
    "metric", [fidelity_registration.MUTUAL_INFORMATION, fidelity_registration.GRADIENT_CORRELATION]
)
def test_shifted_modalities_agree_less(metric, rng):
    def value(shift):
        data = fakes_sets.real_data()
        size = data.examples["train"]["image"].shape[2]
        data.examples["train"]["image"][:, 0, ..., 0] = 0.1 + smooth(rng, size)
        data.examples["train"]["image"][:, 1] = np.roll(data.examples["train"]["image"][:, 0], shift, axis=1)
        rows = fidelity_registration.registration_records(
            slice_sets.SliceSet(data, "train"), fakes_sets.CONFIG.structure_map
        )
        [row] = [row for row in rows if row["metric"] == metric]
        assert row["count"] == 12
        return row["value"]

    assert value(0) == pytest.approx(1.0)
    assert value(fakes.SIZE // 4) < 0.7
