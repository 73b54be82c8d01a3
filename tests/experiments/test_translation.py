"""Scores of translations, the tables that compare them, and the reference that learns from registered pairs."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import best_weights, leaks, study
from mmsynth_tf.experiments.translation import paired_regressor, translation
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.stages.synthesis.translation import sure_lesion
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import run_folder, runs
from tests.fakes import fakes, fakes_data

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
        key = {"translator": translator, "judge": "judge x", "case": case, "source": "t1", "modality": "t2"}
        return {**key, "region": region, "metric": metric, "value": value}

    rows = [
        *(record(translation.GAN, *x) for x in (("a", 20.0), ("b", 30.0))),
        *(record(translation.PAIRED, *x) for x in (("a", 24.0), ("a", 26.0), ("b", 35.0))),
        *(record(translation.COPY, *x) for x in (("a", 10.0), ("b", 10.0))),
        record(translation.REAL, "a", 0.5, DICE, "WT"),
    ]
    tables = translation.tables(rows)
    # a: 20 - (24 + 26) / 2 = -5; b: 30 - 35 = -5.
    assert tables[translation.PSNR].rows[0] == [
        *("t1", "t2", "25.00 ± 7.07 (n=2)", "30.00 ± 7.07 (n=2)", "-5.00 ± 0.00 (n=2)", "10.00 ± 0.00 (n=2)")
    ]
    assert tables["lesion"].rows == [["judge x", "t2", "real", "–", "0.500 (n=1)"]]


def test_the_synthesis_stage_is_told_the_lesions_that_are_found_in_the_source(volume):
    class Shows:
        """Shows the lesions that it is told, in the place of a translation."""

        def translate(self, images, target, label):
            return tf.cast(label, tf.float32)

    segmenter, images = fakes.segmenter(TWO), volume.images[:, 1]
    found, _ = sure_lesion(segmenter.lesion_processor.segment(images, 1).numpy())
    np.testing.assert_array_equal(translation.gan_translator(Shows(), segmenter)(images, 1, 0)[..., 0], found)


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
    with pytest.raises(UserError, match="learns from registered slices"):
        paired_regressor.RegisteredSlices(data, TWO)


def weights(model):
    return [np.asarray(variable) for network in model.networks.values() for variable in network.weights]


def test_the_weights_with_the_smallest_error_are_kept_whenever_training_was_stopped():
    weight, errors = tf.Variable(0.0), iter([0.3, 0.1, 0.2])
    kept = best_weights.BestWeights([weight], lambda: next(errors), interval=2)
    for step in range(6):
        weight.assign(step + 1.0)
        kept.update(step)
    kept.install()
    assert (kept.step, float(weight)) == (4, 4.0)


def test_the_validation_error_is_the_mean_over_all_pairs_inside_the_head(monkeypatch):
    """A network that gives back what it gets errs by the difference of the two modalities."""
    model = paired_regressor.PairedRegressor((4, 4), 2, base_filters=2, levels=1)
    monkeypatch.setattr(model, "_regress", lambda images, target, training: images)
    images = np.zeros((3, 2, 4, 4, 1), np.float16)
    images[:, 0, 1:3, 1:3], images[:, 1, 1:3, 1:3] = 0.75, 0.5
    assert paired_regressor.validation_error(model, images) == pytest.approx(0.25)


def test_the_reference_has_its_best_weights_again_when_it_is_loaded(tmp_path, monkeypatch):
    config = tree.override(TWO, {"runtime.steps_per_checkpoint": 1})
    cases = {"train": ["a", "b"], "validation": ["c"]}
    data = fakes_data.data_set(tmp_path, "pairs", cases)
    errors = iter([0.2, 0.1, 0.3])
    seen = []

    def error(model, images):
        assert images.shape == (1, 2, fakes.SIZE, fakes.SIZE, 1)
        seen.append(weights(model))
        return next(errors)

    monkeypatch.setattr(paired_regressor, "validation_error", error)
    first = paired_regressor.train(data, config, 3, tmp_path / "run")
    again = paired_regressor.train(data, config, 3, tmp_path / "run")
    assert [(t.kept_step, t.validation_slices) for t in (first, again)] == [(2, 1), (2, 1)]
    for trained in (first, again):
        for found, expected in zip(weights(trained.regressor), seen[1], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_without_validation_patients_the_reference_keeps_its_last_weights(tmp_path):
    data = fakes_data.data_set(tmp_path, "pairs", {"train": ["a", "b"], "validation": []})
    trained = paired_regressor.train(data, TWO, 2, tmp_path / "run")
    assert (trained.kept_step, trained.validation_slices) == (2, 0)


STEPS = 2


@pytest.fixture
def request_(tmp_path, monkeypatch):
    """Real patients, and a work directory whose models are there without being trained."""
    config = tree.override(TWO, {"synthesis.steps": STEPS})
    made = {constants.SYNTHESIS: fakes.modality_gan, constants.SEGMENTATION: fakes.segmenter}
    monkeypatch.setattr(runs, "load", lambda stage, workdir: (made[stage](config), config))
    # The judge, too.
    monkeypatch.setattr(runs, "train", lambda *args: None)
    monkeypatch.setattr(run_folder, "trained_on", lambda stage, workdir: [])
    for stage in made:
        text = tree.to_json(config)
        atomic.write_text(tmp_path / "models" / stage / run_folder.CONFIG_FILE, text)
    cases = {"train": ["r_0", "r_1"], "validation": ["r_4", "r_5"], "test": ["r_2", "r_3"]}
    return study.Request(tmp_path / "models", fakes_data.data_set(tmp_path, "patients", cases))


def test_every_pair_is_scored_and_what_is_measured_is_kept(request_, monkeypatch):
    tables = translation.run(request_)
    assert [row[:2] for row in tables[translation.PSNR].rows] == [
        *(["modality_1", "modality_0"], ["modality_0", "modality_1"], ["all", "all"])
    ]
    folder = request_.workdir / "evaluation" / "translation"
    rows = records.read_json(folder / "records.json")
    assert {row["translator"] for row in rows} == {"real", "copy", "gan", "paired"}
    assert {row["case"] for row in rows} == {"r_2", "r_3"}
    steps = {(row["translator"], row["steps"]) for row in rows if "steps" in row}
    assert steps == {("gan", STEPS), ("paired", STEPS)}
    assert {row["validation_slices"] for row in rows if row["translator"] == "paired"} == {2}
    assert tables[translation.PSNR].header[2:4] == ["synthesis stage, 2 steps", "registered pairs, 2 steps"]
    assert "best on 2 validation slices" in tables[translation.PSNR].caption
    assert ["modality_0", "paired", "2"] in [row[1:4] for row in tables["lesion"].rows]
    assert {row[0] for row in tables["lesion"].rows} == {"judge (1ecl_4dcl, seed 1000, 40000 steps)"}
    assert (folder / translation.EXAMPLES_FILE).is_file()

    monkeypatch.setattr(translation, "score", pytest.fail)
    assert translation.run(request_) == tables


def test_patients_that_the_reference_learns_from_are_not_tested(request_):
    with pytest.raises(leaks.LeakError):
        translation.run(dataclasses.replace(request_, split="train"))


def test_validation_patients_that_are_tested_do_not_choose_the_weights_of_the_reference(request_):
    translation.run(dataclasses.replace(request_, split="validation"))
    rows = records.read_json(request_.workdir / "evaluation" / "translation" / "records.json")
    assert {row["validation_slices"] for row in rows if row["translator"] == "paired"} == {0}


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
    with pytest.raises(UserError, match=r"others has no training patients.*--train_data"):
        translation.run(dataclasses.replace(request_, real=others))


def test_patients_of_another_data_set_that_were_trained_on_are_refused(request_, tmp_path):
    leaking = fakes_data.data_set(tmp_path, "leaking", {"train": [], "test": ["r_0"]})
    with pytest.raises(leaks.LeakError, match="r_0"):
        translation.run(dataclasses.replace(request_, real=leaking, trained_on=request_.real))
