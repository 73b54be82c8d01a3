"""Judges are not what generators have seen."""

import itertools

import pytest

from mmsynth_tf import constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import judges, study
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import run_folder, runs
from tests.fakes import fakes_data


@pytest.fixture
def judge_of(tmp_path):
    """Makes judges of a work directory whose stages have given settings."""
    real = fakes_data.data_set(tmp_path, "patients", {"train": ["a"], "test": ["b"]})

    def make(number=0, trained_on=None, **settings):
        stages = {constants.SEGMENTATION: {}, constants.SYNTHESIS: settings}
        for stage, own in stages.items():
            config = tree.override(fakes_data.CONFIG, {k.replace("__", "."): v for k, v in own.items()})
            text = tree.to_json(config)
            atomic.write_text(tmp_path / "models" / stage / run_folder.CONFIG_FILE, text)
        return judges.Judge(study.Request(tmp_path / "models", real, trained_on=trained_on), number)

    return make


@pytest.mark.parametrize(
    ("segmenters", "processors"), list(itertools.product(constants.LESION_DESIGNS, constants.LESION_DESIGNS))
)
def test_a_judge_has_a_design_that_neither_stage_has_and_another_seed(tmp_path, judge_of, segmenters, processors):
    judge_of(segmentation__design=processors)
    folder = tmp_path / "models" / constants.SEGMENTATION
    settings = {"segmentation.design": segmenters, "runtime.seed": 7}
    text = tree.to_json(tree.override(fakes_data.CONFIG, settings))
    atomic.write_text(folder / run_folder.CONFIG_FILE, text)
    config = judges._config(tmp_path / "models", 2, constants.SEGMENTATION)
    assert config.segmentation.design not in (segmenters, processors)
    assert config.runtime.seed == 1_009


def test_a_judge_like_the_joint_segmenter_has_another_seed(tmp_path):
    text = tree.to_json(tree.override(fakes_data.CONFIG, {"runtime.seed": 7}))
    atomic.write_text(tmp_path / constants.JOINT / run_folder.CONFIG_FILE, text)
    config = judges._config(tmp_path, 2, constants.JOINT)
    assert config.runtime.seed == 1_009
    assert judges.described("judge", config, constants.JOINT).startswith("judge (joint, seed 1009, ")


def test_a_judge_is_trained_where_its_settings_and_slices_say_when_it_is_first_needed(judge_of, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(runs, "train", lambda stage, config, data, folder: calls.append((data[0].path, folder)))
    monkeypatch.setattr(runs, "load", lambda stage, folder: (folder, None))
    first, same, other_seed = judge_of(), judge_of(), judge_of(number=1)
    others = fakes_data.data_set(tmp_path, "others", {"train": ["c"]})
    other_slices = judge_of(trained_on=others)
    assert not calls
    assert first.key == same.key
    assert len({first.key, other_seed.key, other_slices.key}) == 3
    assert first.segmenter == first.segmenter == tmp_path / "models" / "evaluation" / "judges" / "parts" / first.key
    assert other_slices.segmenter.name == other_slices.key
    assert calls == [(tmp_path / "patients", first.segmenter), (others.path, other_slices.segmenter)]


def test_a_judge_needs_training_patients(tmp_path, judge_of):
    judge_of()
    bare = fakes_data.data_set(tmp_path, "bare", {"train": [], "test": ["b"]})
    with pytest.raises(UserError, match="--train_data"):
        judges.Judge(study.Request(tmp_path / "models", bare))
