"""Scores of translations, the tables that compare them, and the reference that learns from registered pairs."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import best_weights, leaks, study
from mmsynth_tf.experiments.translation import paired_regressor, scores, tables, translation, translators, volumes
from mmsynth_tf.experiments.translation.translators import Translation
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.synthesis.translation import sure_lesion
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import run_folder, runs
from tests.fakes import fakes, fakes_data

TWO = fakes_data.CONFIG


THREE = fakes.tiny_config(3, 5)


@pytest.fixture
def volume(rng):
    """Three slices of three modalities that look alike, with a label."""
    slices = [fakes.head_slice(rng, 1) for _ in range(3)]
    images = np.stack([s["image"] for s in slices]).astype(np.float32)
    label = np.stack([s["label"][..., 0] for s in slices])
    return volumes.Volume("a", np.repeat(images, 3, axis=1), np.ones((3, 3), bool), label)


class FindsBrightPixels(fakes.JointSegmenter):
    """A joint segmenter that finds class 1 where the sum of the modalities is above a limit."""

    def __init__(self, limit):
        super().__init__((fakes.SIZE, fakes.SIZE), 3, 5, base_filters=2, levels=2)
        self.limit = limit

    def probabilities(self, images):
        bright = tf.cast(tf.reduce_sum(images, axis=-1) > self.limit, tf.float32)
        return tf.stack([1 - bright, bright, *[0 * bright] * 3], axis=-1)


def score(volume, translate, name=translators.GAN, judge=None):
    judge = judge or fakes.segmenter(THREE)
    rows = list(scores.score(name, translate, judge, [volume], THREE.data, test_data="x"))
    return rows, {(row["source"], row["modality"], row["region"], row["metric"]): row["value"] for row in rows}


def mean_of_given(images, sources, target):
    assert not np.delete(images, sources, axis=1).any()
    return Translation(images[:, list(sources)].mean(axis=1))


def test_each_modality_is_translated_from_single_ones_pairs_and_all_others():
    assert volumes.tasks(2) == [((1,), 0), ((0,), 1)]
    assert volumes.tasks(3)[:3] == [((1,), 0), ((2,), 0), ((1, 2), 0)]
    assert [len(sources) for sources, _ in volumes.tasks(5)[:11]] == [1] * 4 + [2] * 6 + [4]


def test_slices_that_look_alike_are_translated_perfectly_by_what_is_given(volume):
    _, values = score(volume, mean_of_given)
    for pair in (("modality_0", "modality_1"), ("modality_0+modality_2", "modality_1")):
        assert values[(*pair, "head", scores.PSNR)] > 100
        assert values[(*pair, "head", scores.SSIM)] == pytest.approx(1.0)
        assert values[(*pair, "head", scores.MAE)] == pytest.approx(0.0, abs=1e-7)
        for region in ("lesion", "healthy", "volume"):
            assert values[(*pair, region, scores.REGIONAL_SSIM)] == pytest.approx(1.0)


def test_a_translation_is_scored_inside_the_head_alone(volume):
    def one_off(images, sources, target):
        return Translation(images[:, sources[0]] + 0.25)  # Also outside the head.

    _, values = score(volume, one_off)
    assert values["modality_0", "modality_1", "head", scores.MAE] == pytest.approx(0.25)
    assert values["modality_0", "modality_1", "lesion", scores.MAE] == pytest.approx(0.25)
    # 10 log10(1 / 0.25²) = 12.04 dB.
    assert values["modality_0", "modality_1", "head", scores.PSNR] == pytest.approx(12.041, abs=1e-3)


def test_real_slices_have_the_dice_of_each_modality_and_of_all_and_no_similarity(volume):
    rows, values = score(volume, None, translators.REAL)
    assert {(row["source"], row["modality"]) for row in rows} == {(f"modality_{i}",) * 2 for i in range(3)}
    assert {row["region"] for row in rows} == {*THREE.data.regions, "lesion"}
    region = next(iter(THREE.data.regions))
    assert {name for *_, name in values} >= {DICE, scores.WITH_GIVEN + DICE}
    assert (
        values["modality_0", "modality_0", region, scores.WITH_GIVEN + DICE]
        == (values["modality_1", "modality_1", region, scores.WITH_GIVEN + DICE])
    )


def test_false_and_missed_lesions_are_volumes(volume):
    """The judge finds what is brighter than 0.5 alone, and what is brighter than 0.5 in all shown ones together."""
    label = np.zeros((3, fakes.SIZE, fakes.SIZE), np.uint8)
    label[1, 4:6, 4:8] = 1  # 8 pixels.

    def draws(images, sources, target):
        made = np.zeros_like(images[:, 0])
        made[1, 4:6, 6:11] = 1.0  # 4 of the 8 pixels, and 6 others.
        return Translation(made, (made[..., 0] > 0).astype(np.uint8) * (np.arange(3) > 0)[:, None, None])

    dark = dataclasses.replace(volume, images=0 * volume.images, label=label)
    _, values = score(dark, draws, judge=FindsBrightPixels(0.5))
    voxel_ml = np.prod(THREE.data.spacing_mm) / 1000
    for prefix in ("", scores.DRAWN, scores.WITH_GIVEN):
        found = [values["modality_0", "modality_1", "lesion", f"{prefix}{name}_ml"] for name in ("false", "missed")]
        np.testing.assert_allclose(found, [6 * voxel_ml, 4 * voxel_ml])
    assert values["modality_0", "modality_1", "lesion", "volume_error_ml"] == pytest.approx(2 * voxel_ml)


def test_the_judge_sees_the_translation_alone_or_with_what_is_given(volume):
    """Each modality is 0.3 everywhere: three of them exceed 0.8."""
    flat = dataclasses.replace(volume, images=np.full_like(volume.images, 0.3), label=np.ones_like(volume.label))
    region = next(name for name, classes in THREE.data.regions.items() if 1 in classes)
    _, values = score(flat, mean_of_given, judge=FindsBrightPixels(0.8))
    assert values["modality_0+modality_2", "modality_1", region, scores.WITH_GIVEN + DICE] == 1.0
    assert values["modality_0", "modality_1", region, scores.WITH_GIVEN + DICE] == 0.0
    assert values["modality_0+modality_2", "modality_1", region, DICE] == 0.0
    _, values = score(flat, None, translators.GIVEN, FindsBrightPixels(0.5))
    dice = {source: values[key] for key in values for source in [key[0]] if key[2:] == (region, "with_given_dice")}
    assert dice == {source: float("+" in source) for source in dice} and len(dice) == 6


def test_slices_that_lack_a_source_or_the_target_are_left_out(volume):
    available = np.array([[True] * 3, [True, False, True], [True] * 3])
    rows, _ = score(dataclasses.replace(volume, available=available), mean_of_given)
    slices = {(row["source"], row["modality"]): row["slices"] for row in rows}
    assert slices["modality_0", "modality_2"] == 3
    assert {n for pair, n in slices.items() if "modality_1" in "".join(pair)} == {2}
    none = dataclasses.replace(volume, available=available & [True, False, False])
    assert score(none, mean_of_given)[0] == []


def test_cases_without_a_label_have_no_dice(volume):
    rows, _ = score(dataclasses.replace(volume, label=None), mean_of_given)
    assert {row["metric"] for row in rows} == {scores.PSNR, scores.SSIM, scores.MAE}


def test_the_difference_is_that_of_the_same_patient_after_averaging_seeds():
    def record(translator, case, value, metric=scores.PSNR, region="head"):
        key = {"translator": translator, "judge": "judge x", "case": case, "source": "t1", "given": 1, "modality": "t2"}
        return {**key, "region": region, "metric": metric, "value": value}

    rows = [
        *(record(translators.GAN, *x) for x in (("a", 20.0), ("b", 30.0))),
        *(record(translators.PAIRED, *x) for x in (("a", 24.0), ("a", 26.0), ("b", 35.0))),
        *(record(translators.COPY, *x) for x in (("a", 10.0), ("b", 10.0))),
        record(translators.REAL, "a", 0.5, DICE, "WT"),
        *(record(translators.GAN, case, ml, "drawn_invented_ml", "lesion") for case, ml in (("a", 1.0), ("b", 4.0))),
    ]
    made = tables.tables(rows)
    # a: 20 - (24 + 26) / 2 = -5; b: 30 - 35 = -5.
    assert made[scores.PSNR].rows[0] == [
        *("t1", "t2", "25.00 ± 7.07 (n=2)", "30.00 ± 7.07 (n=2)", "-5.00 ± 0.00 (n=2)", "10.00 ± 0.00 (n=2)")
    ]
    assert made["lesion"].rows == [["judge x", "t2", "real", "–", "0.500 (n=1)"]]
    rows = [row[:3] for row in made["faithfulness"].rows]
    assert rows == [["any 1", "all", "2.50 / 2.50"], ["t1", "t2", "2.50 / 2.50"]]


@pytest.mark.parametrize("joint", [True, False])
def test_the_synthesis_stage_is_told_the_lesions_that_are_sure_in_what_is_given(volume, joint):
    class Shows:
        """Shows the lesions that it is told, and which modalities it is given, in the place of a translation."""

        def translate(self, images, target, label):
            return tf.cast(label, tf.float32) + 10.0 * tf.cast(images[:, :1, :1, 1:2] != 0, tf.float32)

    images = volumes.only(volume.images + 0.5, [0, 2])
    segmenter = FindsBrightPixels(1.5) if joint else fakes.segmenter(THREE)
    made = translators.of_synthesis_stage(Shows(), segmenter, THREE.data)(images, [0, 2], 1)
    if joint:
        expected = (images.sum(axis=1)[..., 0] > 1.5).astype(np.uint8)
    else:
        probabilities = segmenter.lesion_processor(tf.constant(images)).numpy()[:, [0, 2]]
        summed = probabilities.sum(axis=1) * [0.4, 1, 1, 1, 1]
        expected = sure_lesion(summed / summed.sum(axis=-1, keepdims=True), THREE.data)
    np.testing.assert_array_equal(made.drawn, expected)
    np.testing.assert_array_equal(made.images[..., 0], expected)


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
    made = {
        constants.SYNTHESIS: fakes.modality_gan,
        constants.SEGMENTATION: fakes.segmenter,
        constants.JOINT: lambda config: catalogue.STAGES[constants.JOINT].build(config),
    }
    monkeypatch.setattr(runs, "load", lambda stage, workdir: (made[stage](config), config))
    # The judge, too.
    monkeypatch.setattr(runs, "train", lambda *args: None)
    monkeypatch.setattr(run_folder, "trained_on", lambda stage, workdir: [])
    for stage in made:
        text = tree.to_json(config)
        atomic.write_text(tmp_path / "models" / stage / run_folder.CONFIG_FILE, text)
    cases = {"train": ["r_0", "r_1"], "validation": ["r_4", "r_5"], "test": ["r_2", "r_3"]}
    return study.Request(tmp_path / "models", fakes_data.data_set(tmp_path, "patients", cases))


@pytest.mark.usefixtures("without_tracing")
def test_every_pair_is_scored_and_what_is_measured_is_kept(request_, monkeypatch):
    tables = translation.run(request_)
    assert [row[:2] for row in tables[scores.PSNR].rows] == [
        *(["modality_1", "modality_0"], ["modality_0", "modality_1"], ["any 1", "all"])
    ]
    folder = request_.workdir / "evaluation" / "translation"
    rows = records.read_json(folder / "records.json")
    assert {row["translator"] for row in rows} == {"real", "given", "copy", "gan", "paired"}
    assert {row["case"] for row in rows} == {"r_2", "r_3"}
    steps = {(row["translator"], row["steps"]) for row in rows if "steps" in row}
    assert steps == {("gan", STEPS), ("paired", STEPS)}
    assert {row["validation_slices"] for row in rows if row["translator"] == "paired"} == {2}
    assert tables[scores.PSNR].header[2:4] == ["synthesis stage, 2 steps", "registered pairs, 2 steps"]
    assert "best on 2 validation slices" in tables[scores.PSNR].caption
    assert ["modality_0", "paired", "2"] in [row[1:4] for row in tables["lesion"].rows]
    assert {row[0] for row in tables["lesion"].rows} == {"judge (joint, seed 1000, 40000 steps)"}
    assert [len(tables[name].rows) for name in ("faithfulness", "brasyn")] == [3, 3]
    assert (folder / translation.EXAMPLES_FILE).is_file()

    monkeypatch.setattr(scores, "score", pytest.fail)
    assert translation.run(request_) == tables


@pytest.mark.usefixtures("without_tracing")
def test_without_a_joint_segmenter_the_papers_segmenters_find_and_judge_lesions(request_):
    (request_.workdir / constants.JOINT / run_folder.CONFIG_FILE).unlink()
    table = translation.run(request_)["lesion"]
    assert {row[0] for row in table.rows} == {"judge (1ecl_4dcl, seed 1000, 40000 steps)"}


def test_patients_that_the_reference_learns_from_are_not_tested(request_):
    with pytest.raises(leaks.LeakError):
        translation.run(dataclasses.replace(request_, split="train"))


@pytest.mark.usefixtures("without_tracing")
def test_validation_patients_that_are_tested_do_not_choose_the_weights_of_the_reference(request_):
    translation.run(dataclasses.replace(request_, split="validation"))
    rows = records.read_json(request_.workdir / "evaluation" / "translation" / "records.json")
    assert {row["validation_slices"] for row in rows if row["translator"] == "paired"} == {0}


@pytest.fixture
def others(tmp_path):
    """Patients kept apart, in a data set of their own."""
    return fakes_data.data_set(tmp_path, "others", {"train": [], "test": ["o_0"]})


@pytest.mark.usefixtures("without_tracing")
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
