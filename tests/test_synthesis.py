"""The synthetic data set, made by trained (for a step or two) generators, and the scores of segmenters on it."""

import numpy as np
import pytest
import tensorflow as tf

from datasets import synthetic
from mmsynth_tf import configs, constants, evaluation, fusion, prepared, records, synthesis, training
from mmsynth_tf.experiments import segmentation, study
from tests import fakes

CONFIG = fakes.tiny_config(
    num_modalities=4,
    **fakes.short_runs(steps=2, interval=2),
    generation__batch_size=4,
    generation__mask_error=1.0,
    generation__dice_threshold=0.0,
    generation__structure_threshold=0.3,
)


@pytest.fixture(scope="module")
def workdir(prepared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "strategy", tf.distribute.get_strategy)
        train_all(prepared_data, folder)
    return folder


def train_all(prepared_data, folder):
    for stage in constants.STAGES:
        training.train(stage, CONFIG, [prepared_data], folder)


def generate(workdir, data, count, **settings):
    config = configs.override(CONFIG, {name.replace("__", "."): value for name, value in settings.items()})
    return synthesis.Generation(str(workdir), str(data.path), count, config)


def test_samples_are_registered_labelled_and_inside_the_head(workdir, prepared_data):
    samples = list(generate(workdir, prepared_data, 6))
    assert [s["case_id"] for s in samples] == [f"synthetic_{i:07d}" for i in range(6)]
    for sample in samples:
        outside = sample["background"][..., 0] == 1
        assert not sample["label"][outside].any()
        assert not sample["structure"][outside].any()
        assert set(sample["image"]) == set(prepared_data.config.modalities)
        for image in sample["image"].values():
            assert image.dtype == np.float16
            assert not image[outside].any()


def test_each_sample_depends_on_its_number_alone(workdir, prepared_data):
    one = list(generate(workdir, prepared_data, 5))
    other = list(generate(workdir, prepared_data, 5, generation__batch_size=3))
    for a, b in zip(one, other, strict=True):
        assert a["seed"] == b["seed"]
        np.testing.assert_array_equal(a["label"], b["label"])
        np.testing.assert_array_equal(a["structure"], b["structure"])
        np.testing.assert_allclose(a["image"]["t1"].astype(float), b["image"]["t1"].astype(float), atol=2e-3)


def test_a_label_is_its_recorded_source_under_its_recorded_transform(workdir, prepared_data):
    generation = generate(workdir, prepared_data, 4)
    sources = {
        f"{e['case_id'].decode()}:{e['slice_index']}": e for e in prepared_data.slices("train").as_numpy_iterator()
    }
    for sample in generation:
        label = sources[sample["label_source"]]["label"][None]
        moved = fusion.transform(label, sample["label_transform"][None], "NEAREST")
        np.testing.assert_array_equal(moved[0], sample["label"])


def test_giving_up_says_what_the_filters_let_through(workdir, prepared_data):
    impossible = generate(workdir, prepared_data, 4, generation__mask_error=-1.0, generation__max_tries=2)
    with pytest.raises(synthesis.GenerationError, match=r"0\.0% of the maps pass Algorithm 3"):
        list(impossible)


def test_the_lesion_filter_keeps_what_the_segmenters_agree_with(workdir, prepared_data):
    generation = generate(workdir, prepared_data, 3, generation__dice_threshold=1e-6)
    try:
        samples = list(generation)
    except synthesis.GenerationError:
        samples = []
    assert all(np.mean(s["dice"]) >= 1e-6 for s in samples)
    assert generation.provenance["synthesised"] >= generation.provenance["passed_lesion_filter"] == len(samples)


def test_a_synthetic_data_set_trains_segmenters_that_are_scored_on_real_cases(workdir, prepared_data, tmp_path):
    folder = tmp_path / "synthetic"
    folder.mkdir()
    synthetic.build(generate(workdir, prepared_data, 8), folder)
    made = prepared.open_prepared(folder)
    assert made.record["generation"]["passed_lesion_filter"] == 8
    assert set(made.record["generation"]["checkpoints"]) == set(constants.STAGES)
    training.train(constants.SEGMENTATION, CONFIG, [made], tmp_path / "models")
    table = segmentation.run(study.Request(tmp_path / "models", prepared_data))["table"]
    rows = records.read_json(tmp_path / "models" / "evaluation" / "segmentation" / "records.json")
    assert {row["case"] for row in rows} == set(prepared_data.cases["test"])
    assert {row["modality"] for row in rows} == set(prepared_data.config.modalities)
    assert table.header == ["test_data", "modality", "all"]
    check = segmentation.run_lesion_check(study.Request(workdir, prepared_data, (made,)))["table"]
    assert len(check.rows) == 2 * len(prepared_data.config.modalities)


def test_test_patients_that_were_trained_on_are_refused(workdir, prepared_data):
    with pytest.raises(evaluation.LeakError, match=prepared_data.cases["train"][0]):
        segmentation.run(study.Request(workdir, prepared_data, split="train"))
