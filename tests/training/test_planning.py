"""Settings chosen from the data set and the device."""

import dataclasses
import json

import pytest

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import presets, tree
from mmsynth_tf.errors import WorkDirError
from mmsynth_tf.training import memory, planning

CPU, GPU = memory.Device(False, 16.0), memory.Device(True, 16.0)


def data_of(name: str) -> configs.DataConfig:
    return configs.preset(name).data


@pytest.mark.parametrize("name", ["cpu", "workstation"])
def test_a_cpu_with_enough_memory_gets_the_preset_of_that_size(name):
    chosen = planning.plan(data_of(name), 600, CPU).config
    assert dataclasses.replace(chosen, data=data_of(name)) == configs.preset(name)


def test_a_gpu_gets_the_default_preset_for_as_much_data():
    chosen = planning.plan(data_of("default"), 20_000, GPU).config
    assert chosen == configs.Config()


def test_less_data_takes_fewer_steps_on_a_gpu_but_not_fewer_than_preset_cpu():
    half, little = (planning.plan(data_of("default"), count, GPU).config for count in (10_000, 100))
    assert (half.structure.steps, half.synthesis.steps, half.synthesis.pretraining_steps) == (50_000, 100_000, 10_000)
    cpu = configs.preset("cpu")
    assert [getattr(little, s).steps for s in constants.STAGES] == [getattr(cpu, s).steps for s in constants.STAGES]
    assert little.runtime == cpu.runtime and half.runtime == configs.Config().runtime


def test_batches_shrink_with_the_memory_and_as_many_slices_are_shown():
    usual = configs.preset("workstation")
    needed = memory.step_gib("structure", usual)
    plan = planning.plan(data_of("workstation"), 600, memory.Device(False, needed))
    assert plan.config.structure.batch_size == usual.structure.batch_size // 2
    assert plan.config.structure.steps == 2 * usual.structure.steps
    assert plan.config.synthesis.batch_size % plan.config.synthesis.full_every == 0
    assert "smaller than the preset's for" in plan.reasons[1] and "structure" in plan.reasons[1]


def test_a_small_gpu_gets_the_filters_of_preset_cpu():
    small = planning.plan(data_of("default"), 20_000, memory.Device(True, 2.0))
    assert small.config.synthesis.base_filters == configs.preset("cpu").synthesis.base_filters
    assert "Filters of preset cpu on the GPU" in small.reasons[0]


def test_depth_and_code_follow_any_size_and_number_of_modalities():
    data = dataclasses.replace(data_of("cpu"), image_size=(96, 128), modalities=("ct", "pet"))
    chosen = planning.plan(data, 600, memory.Device(False, None)).config
    assert tree.override(chosen, presets.of_size(96, 128)).structure == chosen.structure
    assert chosen.segmentation.levels == 4


def prepared_at(path, data: configs.DataConfig, slices: int) -> prepared.PreparedData:
    path.mkdir()
    splits = [{"name": "train", "shardLengths": [str(slices), "5"]}, {"name": "test", "shardLengths": ["7"]}]
    (path / "dataset_info.json").write_text(json.dumps({"splits": splits}))
    return prepared.PreparedData(path, data, {})


def test_a_plan_is_kept_and_holds_when_the_memory_changes(tmp_path):
    data = prepared_at(tmp_path / "data", data_of("cpu"), 600)
    assert (data.num_slices("train"), data.num_slices("test"), data.num_slices("validation")) == (605, 7, 0)
    first = planning.planned([data], tmp_path / "run", CPU)
    again = planning.planned([data], tmp_path / "run", memory.Device(False, 0.2))
    other = planning.planned([data], tmp_path / "other", memory.Device(False, 0.2))
    assert first == again != other
    kept = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert len(kept["reasons"]) == 3 and kept["settings"]["structure.latent_dim"] == 64
    assert not [path for path in kept["settings"] if path.startswith("data.")]


@pytest.mark.parametrize("text", ["", "{}", '{"settings": {"structure.colour": 1}, "reasons": []}'])
def test_a_damaged_plan_is_refused_by_name(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(WorkDirError, match=r"plan\.json cannot be read .*Choose another --workdir"):
        planning.planned([], tmp_path, CPU)


def test_a_data_set_without_its_description_is_refused(tmp_path):
    with pytest.raises(prepared.PreparedDataError, match="build the data set again"):
        prepared.PreparedData(tmp_path, data_of("cpu"), {}).num_slices("train")
