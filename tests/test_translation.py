"""Scores of translations, the tables that compare them, and the reference that learns from registered pairs."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import commands, constants, records, run_records, stage_configs, training
from mmsynth_tf.experiments import evaluation, paired_regressor, study, translation
from mmsynth_tf.measures import metrics
from tests import fakes, fakes_data

TWO = fakes_data.CONFIG


@pytest.fixture
def volume(rng):
    """Three slices of two modalities that look alike, with a label."""
    slices = [fakes.head_slice(rng, 1) for _ in range(3)]
    images = np.stack([s["image"] for s in slices]).astype(np.float32)
    label = np.stack([s["label"][..., 0] for s in slices])
    return translation.Volume("a", np.repeat(images, 2, axis=1), np.ones((3, 2), bool), label)


def scores(volume, translate):
    rows = list(translation.score(translate, fakes.segmenter(TWO), [volume], TWO.data, translator="x"))
    return rows, {(row["source"], row["modality"], row["metric"]): row["value"] for row in rows}


def test_slices_that_look_alike_are_translated_perfectly_by_copying(volume):
    _, values = scores(volume, lambda images, source, target: images)
    for pair in (("modality_0", "modality_1"), ("modality_1", "modality_0")):
        assert values[(*pair, translation.PSNR)] == np.inf
        assert values[(*pair, translation.SSIM)] == pytest.approx(1.0)
        assert values[(*pair, translation.MAE)] == 0.0


def test_a_translation_is_scored_inside_the_head_alone(volume):
    def one_off(images, source, target):
        return images + 0.25  # Also outside the head.

    _, values = scores(volume, one_off)
    assert values["modality_0", "modality_1", translation.MAE] == pytest.approx(0.25)
    # 10 log10(1 / 0.25²) = 12.04 dB.
    assert values["modality_0", "modality_1", translation.PSNR] == pytest.approx(12.041, abs=1e-3)


def test_real_slices_have_a_dice_of_each_modality_and_no_similarity(volume):
    rows, _ = scores(volume, None)
    assert {(row["source"], row["modality"]) for row in rows} == {("modality_0",) * 2, ("modality_1",) * 2}
    assert {row["region"] for row in rows} == set(TWO.data.regions)


def test_slices_that_lack_either_modality_are_left_out(volume):
    available = np.array([[True, True], [True, False], [True, True]])
    rows, _ = scores(dataclasses.replace(volume, available=available), lambda images, source, target: images)
    assert {row["slices"] for row in rows} == {2}
    none = dataclasses.replace(volume, available=available & [True, False])
    assert scores(none, lambda images, source, target: images)[0] == []


def test_cases_without_a_label_have_no_dice(volume):
    rows, _ = scores(dataclasses.replace(volume, label=None), lambda images, source, target: images)
    assert {row["metric"] for row in rows} == {translation.PSNR, translation.SSIM, translation.MAE}


def test_the_difference_is_that_of_the_same_patient_after_averaging_seeds():
    def record(translator, case, value, metric=translation.PSNR, region="head"):
        key = {"translator": translator, "case": case, "source": "t1", "modality": "t2"}
        return {**key, "region": region, "metric": metric, "value": value}

    rows = [
        *(record(translation.GAN, *x) for x in (("a", 20.0), ("b", 30.0))),
        *(record(translation.PAIRED, *x) for x in (("a", 24.0), ("a", 26.0), ("b", 35.0))),
        *(record(translation.COPY, *x) for x in (("a", 10.0), ("b", 10.0))),
        record(translation.REAL, "a", 0.5, metrics.DICE, "WT"),
    ]
    tables = translation.tables(rows)
    # a: 20 - (24 + 26) / 2 = -5; b: 30 - 35 = -5.
    assert tables[translation.PSNR].rows[0] == [
        *("t1", "t2", "25.00 ± 7.07 (n=2)", "30.00 ± 7.07 (n=2)", "-5.00 ± 0.00 (n=2)", "10.00 ± 0.00 (n=2)")
    ]
    assert tables["lesion"].rows == [["t2", "real", "0.500 (n=1)"]]


def test_the_synthesis_stage_is_told_the_lesions_that_are_found_in_the_source(volume):
    class Shows:
        """Shows the lesions that it is told, in the place of a translation."""

        config = stage_configs.SynthesisConfig(translation_background_weight=0.3)

        def translate(self, images, target, label):
            return tf.cast(label, tf.float32)

    segmenter, images = fakes.segmenter(TWO), volume.images[:, 1]
    probabilities = segmenter.lesion_processor.segment(images, 1).numpy()
    sure = np.argmax(probabilities, axis=-1)[..., None]
    probabilities[..., 0] *= 0.3
    found = np.argmax(probabilities, axis=-1)[..., None]
    assert np.count_nonzero(found) > np.count_nonzero(sure)
    np.testing.assert_array_equal(translation.gan_translator(Shows(), segmenter)(images, 1, 0), found)


def registered_pairs(config, count=6):
    """A data set of which the second modality is the first one, half as bright."""
    slices = fakes.slices(count, config)

    class Data:
        path = "made up"

        def slices(self, split):
            return slices.map(lambda x: {**x, "image": tf.stack([x["image"][0], x["image"][0] / 2])})

    return Data()


def test_modalities_of_a_slice_are_drawn_together_and_transformed_alike():
    source = paired_regressor.RegisteredSlices(registered_pairs(TWO), TWO)
    batch = next(iter(source.batches(3)))
    image = batch["image"].numpy()
    assert image.shape == (2, 2, fakes.SIZE, fakes.SIZE, 1)
    np.testing.assert_allclose(image[:, 1], image[:, 0] / 2, atol=1e-3)
    again = next(iter(source.batches(2).skip(1)))
    np.testing.assert_array_equal(image, again["image"].numpy())


def test_no_modality_is_made_from_itself():
    source = paired_regressor.RegisteredSlices(registered_pairs(TWO), TWO)
    for batch in source.batches(0).take(3):
        np.testing.assert_array_equal(batch["source"], [[1, 0]] * 2)


def test_the_reference_needs_slices_with_all_modalities():
    data = registered_pairs(TWO)
    lacking = data.slices("train").map(lambda x: {**x, "available": tf.constant([True, False])})
    data.slices = lambda split: lacking
    with pytest.raises(commands.UserError, match="learns from registered slices"):
        paired_regressor.RegisteredSlices(data, TWO)


@pytest.fixture
def request_(tmp_path, monkeypatch):
    """Real patients, and a work directory whose models are there without being trained."""
    made = {constants.SYNTHESIS: fakes.modality_gan, constants.SEGMENTATION: fakes.segmenter}
    monkeypatch.setattr(training, "load", lambda stage, workdir: (made[stage](TWO), TWO))
    monkeypatch.setattr(run_records, "trained_on", lambda stage, workdir: [])
    real = fakes_data.data_set(tmp_path, "patients", {"train": ["r_0", "r_1"], "test": ["r_2", "r_3"]})
    return study.Request(tmp_path / "models", real, steps=2)


def test_every_pair_is_scored_and_what_is_measured_is_kept(request_, monkeypatch):
    tables = translation.run(request_)
    assert [row[:2] for row in tables[translation.PSNR].rows] == [
        *(["modality_1", "modality_0"], ["modality_0", "modality_1"], ["all", "all"])
    ]
    folder = request_.workdir / "evaluation" / "translation"
    rows = records.read_json(folder / "records.json")
    assert {row["translator"] for row in rows} == {"real", "copy", "gan", "paired"}
    assert {row["case"] for row in rows} == {"r_2", "r_3"}
    assert {row["steps"] for row in rows if row["translator"] == "paired"} == {2}
    assert (folder / translation.EXAMPLES_FILE).is_file()

    monkeypatch.setattr(translation, "score", pytest.fail)
    assert translation.run(request_) == tables


def test_patients_that_the_reference_learns_from_are_not_tested(request_):
    with pytest.raises(evaluation.LeakError):
        translation.run(dataclasses.replace(request_, split="train"))


@pytest.fixture
def others(tmp_path):
    """Patients kept apart, in a data set of their own."""
    return fakes_data.data_set(tmp_path, "others", {"train": [], "test": ["o_0"]})


def test_patients_of_another_data_set_are_tested_on(request_, others):
    apart = dataclasses.replace(request_, real=others, trained_on=request_.real)
    translation.run(apart)
    rows = records.read_json(apart.workdir / "evaluation" / "translation" / "records.json")
    assert {(row["test_data"], row["case"]) for row in rows} == {("others", "o_0")}


def test_data_set_without_training_patients_needs_another_one(request_, others):
    with pytest.raises(commands.UserError, match=r"others has no training patients.*--train_data"):
        translation.run(dataclasses.replace(request_, real=others))


def test_patients_of_another_data_set_that_were_trained_on_are_refused(request_, tmp_path):
    leaking = fakes_data.data_set(tmp_path, "leaking", {"train": [], "test": ["r_0"]})
    with pytest.raises(evaluation.LeakError, match="r_0"):
        translation.run(dataclasses.replace(request_, real=leaking, trained_on=request_.real))
