"""Maps that are less like real ones than those of other patients are dropped."""

import numpy as np
import pytest

from mmsynth_tf import configs
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import map_filter
from mmsynth_tf.generation.map_filter import MapFilter


def ring(row, column, radius, size=48):
    """[size, size]: a thin circle."""
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - row, columns - column)
    return (np.abs(distance - radius) < 1).astype(np.uint8)


# Four patients with two maps each: circles, left of the middle, of two sizes, with what is each patient's own.
MAPS = np.stack([ring(24 + p % 2, 20, radius + p / 4) for p in range(4) for radius in (10, 15)])
PATIENTS = [name for name in "abcd" for _ in range(2)]


def made(quantile=0.05):
    return MapFilter.from_maps(MAPS, PATIENTS, quantile)


def test_a_real_map_and_its_mirror_image_are_fully_alike():
    similarities = made().similarities(np.concatenate([MAPS, MAPS[:, :, ::-1]]))
    assert similarities.shape == (16,)
    np.testing.assert_allclose(similarities, 1.0, atol=1e-5)


def test_other_shapes_and_empty_maps_are_less_like_real_ones_than_those_of_an_unseen_patient():
    square = np.zeros((48, 48), np.uint8)
    square[4:44, [4, 43]] = square[[4, 43], 4:44] = 1
    empty, full = np.zeros_like(square), np.ones_like(square)
    maps = np.stack([ring(24, 20, 10.5), square, empty, full])
    kept = made().similarities(maps) >= made().least
    assert kept.tolist() == [True, False, False, False]


def test_blur_makes_displaced_edges_alike(monkeypatch):
    moved, similarities = ring(26, 20, 10)[None], []
    for blur in (0.01, 3.0):
        monkeypatch.setattr(map_filter, "_BLUR", blur / 48)
        similarities.append(made().similarities(moved)[0])
    assert similarities[1] > similarities[0] + 0.2


def test_maps_of_another_size_are_blurred_by_the_same_share_of_it():
    small, large = (np.stack([ring(a * 24, a * 20, a * radius, 48 * a) for radius in (10, 15)]) for a in (1, 4))
    products = [(descriptions := map_filter.describe(maps))[0] @ descriptions[1] for maps in (small, large)]
    # Lines are thinner in the larger maps, which the blur hides.
    assert products[0] == pytest.approx(products[1], abs=0.05)


def test_the_quantile_says_how_many_real_maps_would_be_dropped():
    filter_by_median, others = made(0.5), []
    for patient in "abcd":
        own = np.array(PATIENTS) == patient
        rest = MapFilter.from_maps(MAPS[~own], np.array(PATIENTS)[~own], 0.5)
        others += list(rest.similarities(MAPS[own]))
    assert np.mean(np.array(others) < filter_by_median.least) == 0.5
    assert made(0.05).least < filter_by_median.least


def test_large_maps_are_shrunken():
    large = MapFilter.from_maps(np.stack([ring(100, 80, 40 + 2 * p, 200) for p in range(3)]), [*"abc"], 0.05)
    assert large.descriptions.shape == (3, 64 * 64)


def test_one_patient_alone_is_refused():
    with pytest.raises(UserError, match="all training slices are of one patient"):
        MapFilter.from_maps(MAPS, ["a"] * 8, 0.05)


def test_maps_of_a_data_set_are_those_of_its_training_slices(prepared_data):
    settings = configs.GenerationConfig(map_quantile=0.05)
    found = MapFilter.of(prepared_data, configs.StructureMapConfig(), settings)
    available = sum(int(e["available"].sum()) for e in prepared_data.slices("train").as_numpy_iterator())
    assert found.descriptions.shape == (available, np.prod(prepared_data.config.image_size))
    np.testing.assert_allclose(np.linalg.norm(found.descriptions, axis=1), 1.0, atol=1e-4)
    assert -1 <= found.least <= 1
