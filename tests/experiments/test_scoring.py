"""Scores from segmented cases, and the refusal to test on patients that were trained on."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants, prepared
from mmsynth_tf.experiments import leaks, scoring
from tests.fakes import fakes, fakes_sets

CONFIG = fakes.tiny_config(num_modalities=2, num_classes=3).data
REAL = {
    "source": "cases",
    "split": {"train": ["a_1", "a_2"], "test": ["b_1"]},
    "patients": {"a_1": "a", "a_2": "a", "b_1": "b"},
}
OTHERS = {"source": "cases", "split": {"train": ["c_1"]}, "patients": {"c_1": "c"}}


def data(record):
    return prepared.PreparedData(pathlib.Path("data"), CONFIG, record)


def synthetic(labels_from=OTHERS, **trained_on):
    return {"source": "synthetic", "generation": {"trained_on": trained_on, "labels_from": labels_from}}


def case(**changes):
    reference = np.zeros((2, 4, 4), np.uint8)
    reference[0, :2, :2] = 1
    prediction = np.stack([reference, np.zeros_like(reference)])
    whole = scoring.SegmentedCase("b_1", reference, prediction, reference, np.array([True, True]))
    return dataclasses.replace(whole, **changes)


def test_other_patients_may_be_tested_on():
    leaks.refuse_leak([REAL], data(REAL), "test")


@pytest.mark.parametrize(
    "trained_on",
    [
        [REAL],
        [synthetic(structure=[REAL])],
        [synthetic(structure=[synthetic(synthesis=[REAL])])],
        [synthetic(labels_from=REAL)],
    ],
    ids=["directly", "through synthetic data", "through synthetic data of synthetic data", "through its label"],
)
def test_a_patient_seen_in_training_is_refused_at_another_time_point(trained_on):
    later = {"source": "cases", "split": {"test": ["a_3"]}, "patients": {"a_3": "a"}}
    with pytest.raises(leaks.LeakError, match="split of data \\(a"):
        leaks.refuse_leak(trained_on, data(later), "test")


@pytest.mark.parametrize(("train", "warned"), [(["a_1", "c_1"], False), (["c_1"], True), ([], False)])
def test_training_patients_that_the_models_have_never_seen_are_named(caplog, train, warned):
    others = {"source": "cases", "split": {"train": train}, "patients": {"a_1": "a", "c_1": "c"}}
    leaks.warn_of_other_training_patients([REAL], data(others))
    assert ("--train_data" in caplog.text) == warned


def test_each_volume_modality_region_and_metric_is_one_record():
    rows = scoring.segmentation_records([case()], data(REAL), scoring.VOLUME, experiment="x")
    dice = {row["modality"]: row["value"] for row in rows if row["metric"] == "dice"}
    assert dice == {"modality_0": 1.0, "modality_1": 0.0, "all": 1.0}
    assert {row["experiment"] for row in rows} == {"x"}


def test_slices_without_lesion_in_either_are_absent_not_perfect():
    rows = scoring.segmentation_records([case()], data(REAL), scoring.SLICE)
    values = [row["value"] for row in rows if row["metric"] == "dice" and row["modality"] == "modality_0"]
    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_modalities_that_a_case_lacks_are_left_out():
    lacking = case(available=np.array([True, False]))
    rows = scoring.segmentation_records([lacking], data(REAL), scoring.VOLUME)
    assert {row["modality"] for row in rows} == {"modality_0", "all"}


def test_the_table_has_a_row_a_modality_and_a_column_a_region():
    rows = scoring.segmentation_records([case(), case()], data(REAL), scoring.VOLUME)
    table = scoring.summary_table(rows, ("modality",), "dice", "Dice")
    assert table.header == ["modality", "all"]
    perfect = "1.000 ± 0.000 (n=2)"
    assert table.rows == [["modality_0", perfect], ["modality_1", "0.000 ± 0.000 (n=2)"], ["all", perfect]]


def test_all_modalities_together_are_those_that_a_slice_has():
    """In one pixel, modality 0 gives class 1 a probability of 0.4, modality 1 one of 0.7."""
    probabilities = tf.constant([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])[None, :, None, None]
    segmenter = types.SimpleNamespace(lesion_processor=lambda images, training: tf.repeat(probabilities, 2, axis=0))
    columns = {
        "image": np.zeros((2, 2, 1, 1, 1), np.float16),
        "label": np.ones((2, 1, 1, 1), np.uint8),
        "available": np.array([[True, True], [True, False]]),
        "has_label": np.array([True, True]),
        "case_id": np.array([b"b_1", b"b_1"]),
        "slice_index": np.array([0, 1]),
    }
    slices = types.SimpleNamespace(slices=lambda split: tf.data.Dataset.from_tensor_slices(columns))
    (found,) = scoring.segmented_cases(segmenter, slices, "test")
    np.testing.assert_array_equal(found.prediction[..., 0, 0], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(found.together[..., 0, 0], [1, 0])


def test_of_the_joint_segmenter_there_is_one_segmentation_of_all_modalities():
    joint = fakes.joint_segmenter(fakes.tiny_config(2, 3))
    data = fakes_sets.real_data()
    (first, _) = scoring.segmented_cases(joint, data, "test")
    images = np.moveaxis(data.examples["test"]["image"][:3, ..., 0], 1, -1).astype(np.float32)
    np.testing.assert_array_equal(first.together, joint.segment(tf.constant(images)))
    rows = scoring.segmentation_records([first], data, scoring.VOLUME)
    assert rows and {row["modality"] for row in rows} == {constants.ALL_MODALITIES}
