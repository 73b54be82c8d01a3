"""Pasted and painted lesions as samples of a synthetic set: content, provenance, leak checks, remaking and the card."""

import collections
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from datasets import synthetic
from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.algorithms import warping
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.segmentation_gain import rows
from mmsynth_tf.generation import remaking
from mmsynth_tf.generation.lesion_samples import LesionGeneration
from mmsynth_tf.storage.atomic import new_folder

CONFIG = dataclasses.replace(configs.Config(), generation=configs.GenerationConfig(batch_size=1))


@pytest.fixture(scope="module", params=(constants.PASTED, constants.PAINTED))
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(prepared_data, tmp_path_factory, kind) -> prepared.PreparedData:
    output = tmp_path_factory.mktemp(kind) / "set"
    with new_folder(output, constants.DATA_SET_RECORD) as folder:
        synthetic.build(LesionGeneration(kind, prepared_data.path, CONFIG), 6, output, folder)
    return prepared.open_prepared(output)


def training_slices(data: prepared.PreparedData) -> dict[str, dict]:
    examples = data.slices("train").as_numpy_iterator()
    return {f"{e['case_id'].decode()}:{e['slice_index']}": e for e in examples}


def test_samples_are_training_slices_with_a_moved_training_lesion(prepared_data, made, kind):
    slices, samples = training_slices(prepared_data), list(made.slices("train").as_numpy_iterator())
    assert len(samples) == 6
    for sample in samples:
        own, donor = (slices[sample[name].decode()] for name in ("anatomy_source", "label_source"))
        moved = warping.transform(
            tf.constant(donor["label"][None]), tf.constant(sample["label_transform"][None]), "NEAREST"
        ).numpy()[0]
        # Two libraries may round differently at the border of a pixel, and painted lesions are deformed as well.
        agreement = np.mean(np.where(moved > 0, moved, own["label"]) == sample["label"])
        assert agreement > (0.97 if kind == constants.PASTED else 0.8)
        assert sample["available"].all() and sample["has_label"]
        assert not np.array_equal(sample["image"], own["image"])
        assert np.isnan(sample["dice"]).all()
        assert sample["background"].shape == sample["structure"].shape == sample["label"].shape


def test_leak_checks_know_whose_slices_they_are(prepared_data, made, kind):
    patients = {prepared_data.record["patients"][case] for case in prepared_data.cases["train"]}
    assert leaks.seen_patients([made.record]) == patients
    assert rows.DRAWN[rows.kind_of(made)] == kind


def test_the_card_says_what_is_of_patients(made, kind):
    text = (made.path / "README.md").read_text(encoding="utf-8")
    if kind == constants.PASTED:
        assert "Lesions were cut out of real slices" in text
        assert "images and the lesions are of training patients" in text
    else:
        assert "Lesions were painted into real slices" in text
        assert "Except for the synthetic lesions, the images are of training patients" in text
    assert "no model was used" in text and "weights" not in text.split("## Reproducing")[1]
    assert ("| slices and lesions |" in text) == (kind == constants.PASTED) and "requirement" not in text


def test_a_sample_is_made_again_from_its_record(prepared_data, made):
    remaker = remaking.Remaker(made, None, prepared_data.path)
    for case_id in made.cases["train"][::5]:
        assert not remaker.remake(case_id).differences


def test_every_draw_is_a_sample_that_depends_on_seed_and_number_alone(prepared_data, kind):
    counts, generation = collections.Counter(), LesionGeneration(kind, prepared_data.path, CONFIG)
    samples = list(generation.block(1, counts))
    assert [sample["seed"] for sample in samples] == [*range(8, 16)]
    assert counts == dict.fromkeys(("drawn", "closed", "typical", "labelled", "synthesised", "agreed", "kept"), 8)
    reseeded = dataclasses.replace(CONFIG, runtime=configs.RuntimeConfig(seed=1))
    other = LesionGeneration(kind, prepared_data.path, reseeded)
    np.testing.assert_array_equal(generation.remake(8)["image"]["t1"], samples[0]["image"]["t1"])
    assert not np.array_equal(other.remake(8)["image"]["t1"], samples[0]["image"]["t1"])


def test_synthetic_sets_are_refused(made):
    with pytest.raises(UserError, match="is a synthetic data set; give one of real patients"):
        LesionGeneration(constants.PASTED, made.path, CONFIG)


def test_sets_from_trained_stages_need_a_work_directory_to_be_remade(made, prepared_data):
    generation = {**made.record["generation"], "lesions": None}
    other = dataclasses.replace(made, record=json.loads(json.dumps({**made.record, "generation": generation})))
    with pytest.raises(remaking.RemakeError, match="--workdir"):
        remaking.Remaker(other, None, prepared_data.path)
