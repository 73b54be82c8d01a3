"""Distributions of lesions, heads and positions over slices whose quantities are known."""

import dataclasses

import numpy as np
import pytest

from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.experiments.fidelity import distributions, fidelity_tables
from tests.fakes import fakes_sets

DATA = fakes_sets.CONFIG.data
# Without the rim of Algorithm 2, heads are as large as they are drawn.
SETTINGS = dataclasses.replace(fakes_sets.CONFIG.structure_map, background_expand=0)
PIXEL = DATA.spacing_mm[1] * DATA.spacing_mm[2] / 100.0
NAMES = DATA.labels[1:]


def source(label: np.ndarray, **features: np.ndarray) -> slice_sets.SliceSet:
    """Labelled slices [N, H, W] in a head of rows 2 to 12 and columns 1 to 11."""
    count, data = len(label), fakes_sets.real_data()
    image = np.zeros((count, len(DATA.modalities), *DATA.image_size, 1), np.float32)
    image[:, :, 2:13, 1:12] = 0.5
    data.examples["train"] = {
        "image": image,
        "label": label[..., None],
        "has_label": np.ones(count, bool),
        "available": np.ones((count, len(DATA.modalities)), bool),
        **features,
    }
    return slice_sets.SliceSet(data, "train")


def describe(slices: slice_sets.SliceSet) -> distributions.Values:
    return distributions.describe(slices, SETTINGS)


@pytest.fixture
def label() -> np.ndarray:
    """A slice with two lesions, one with a single pixel in the head's middle, and one without."""
    label = np.zeros((3, *DATA.image_size), np.uint8)
    label[0, 2, 1], label[0, 12, 9:12] = 1, 2
    label[1, 7, 6] = 1
    return label


def test_each_quantity_is_that_of_the_slices(label):
    found = describe(source(label, position=np.array([0.1, 0.5, 0.9], np.float32)))
    assert found[distributions.WITH_LESION].tolist() == [1, 1, 0]
    assert found[distributions.LESIONS].tolist() == [2, 1]
    assert found[distributions.LESION_AREA] == pytest.approx([4 * PIXEL, PIXEL])
    assert found[distributions.HEAD_AREA] == pytest.approx([121 * PIXEL] * 3)
    assert found[distributions.POSITION] == pytest.approx([0.1, 0.5, 0.9])
    assert found[distributions.FRONT_TO_BACK] == pytest.approx([1.0, 0.5])
    assert found[distributions.OFF_MIDLINE] == pytest.approx([0.8, 0])
    assert found[f"share of {NAMES[0]}"] == pytest.approx([0.25, 1])
    assert found[f"share of {NAMES[1]}"] == pytest.approx([0.75, 0])


def test_pixels_that_touch_at_a_corner_are_one_lesion(label):
    label[1, 8, 7] = 1
    assert describe(source(label))[distributions.LESIONS].tolist() == [2, 1]


def test_slices_without_label_or_head_count_nowhere(label):
    slices = source(label)
    slices.data.examples["train"]["has_label"][0] = False
    slices.data.examples["train"]["image"][1] = 0
    found = describe(slices)
    assert found[distributions.WITH_LESION].tolist() == [0]
    assert distributions.LESIONS not in found and distributions.POSITION not in found


def test_the_distance_says_how_far_distributions_are_apart(label):
    everything = source(label)
    reference = {**describe(everything), distributions.LESION_AREA: np.full(5, 1e6)}
    records = {row["quantity"]: row for row in distributions.distribution_records(everything, SETTINGS, reference)}
    assert records[distributions.LESION_AREA]["distance"] == 1
    assert records[distributions.LESIONS]["distance"] == 0
    assert records[distributions.LESIONS]["q0.5"] == 1.5
    assert records[distributions.WITH_LESION]["value"] == pytest.approx(2 / 3)
    table = fidelity_tables.tables(list(records.values()), DATA.modalities, {})["distribution"]
    assert [line[0] for line in table.rows] == sorted(records)
    [lesions] = [line for line in table.rows if line[0] == distributions.LESIONS]
    assert lesions[2:] == [2, "1.5", "1.1", "1.5", "1.9", "0"]
