"""Training runs from start to checkpoint, on tiny cases read from NIfTI."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.stages import catalogue
from mmsynth_tf.storage import records
from mmsynth_tf.training import callbacks, checkpoints, memory, run_folder, runs
from mmsynth_tf.training import devices as training_devices
from tests.fakes import fakes, training_checks

# One network for all modalities is traced sooner than one for each.
CONFIG = fakes.tiny_config(
    num_modalities=4,
    segmentation__design=constants.ONE_SEGMENTER,
    **fakes.short_runs(steps=4, interval=2),
)


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Tracing for two replicas takes twice as long; tests/training/test_ways_to_run.py has them."""
    monkeypatch.setattr(training_devices, "strategy", tf.distribute.get_strategy)


@pytest.fixture(scope="module")
def trained(prepared_data, tmp_path_factory):
    """A work folder with the structure and segmentation stages; not to be changed."""
    workdir = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, training_checks.untraced():
        patch.setattr(training_devices, "strategy", tf.distribute.get_strategy)
        for stage in (constants.STRUCTURE, constants.SEGMENTATION):
            runs.train(stage, CONFIG, [prepared_data], workdir)
    return workdir


def test_a_training_that_the_memory_cannot_hold_does_not_start(prepared_data, tmp_path, monkeypatch):
    monkeypatch.setattr(training_devices, "training_device", lambda: memory.Device(False, 0.01))
    with pytest.raises(UserError, match=r"structure stage needs about .* and 0\.0 GiB are free"):
        runs.train(constants.STRUCTURE, CONFIG, [prepared_data], tmp_path)
    assert not checkpoints.paths(tmp_path / constants.STRUCTURE)


def weights(stage, workdir):
    model, _ = runs.load(stage, workdir)
    return [np.array(v) for network in model.networks.values() for v in network.weights]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"pretraining_steps": 4}, r"pretraining_steps \(4\) must be below synthesis.steps \(4\)"),
        ({"batch_size": 3}, "multiple of the number of devices"),
        (
            {"batch_size": 4, "full_every": 4},
            r"batch of each device \(2 slices\) must be a multiple of synthesis.full_every \(4\)",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, complaint):
    settings = dataclasses.replace(CONFIG.synthesis, **changes)
    with pytest.raises(UserError, match=complaint):
        settings.require_consistent(replicas=2)


def test_one_device_needs_no_strategy_and_trains_under_xla(prepared_data, trained, tmp_path, monkeypatch):
    monkeypatch.undo()
    devices = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices[:1] if kind == "CPU" else [])
    assert training_devices.strategy.__wrapped__() is tf.distribute.get_strategy()
    monkeypatch.setattr(training_devices, "strategy", training_devices.strategy.__wrapped__)
    compiled = tree.override(CONFIG, {"runtime.jit_compile": True})
    runs.train(constants.SEGMENTATION, compiled, [prepared_data], tmp_path)
    for a, b in zip(*(weights(constants.SEGMENTATION, workdir) for workdir in (trained, tmp_path)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_xla_is_refused_on_several_devices(prepared_data, tmp_path, monkeypatch):
    monkeypatch.undo()
    compiled = tree.override(CONFIG, {"runtime.jit_compile": True})
    with pytest.raises(UserError, match="XLA compiles steps for one device, and there are 2"):
        runs.train(constants.SEGMENTATION, compiled, [prepared_data], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_tracing")
@pytest.mark.parametrize("stage", [constants.STRUCTURE, constants.SEGMENTATION])
def test_a_stopped_run_ends_like_an_undisturbed_one(stage, prepared_data, trained, tmp_path):
    stop_after_first_checkpoint(stage, prepared_data, tmp_path)
    runs.train(stage, CONFIG, [prepared_data], tmp_path)
    for a, b in zip(weights(stage, trained), weights(stage, tmp_path), strict=True):
        np.testing.assert_array_equal(a, b)
    logs = [records.read_columns(workdir / stage / callbacks.LOSSES_FILE) for workdir in (trained, tmp_path)]
    assert list(logs[0]["step"]) == [2, 4]
    assert {name: list(v) for name, v in logs[0].items()} == {name: list(v) for name, v in logs[1].items()}


def stop_after_first_checkpoint(stage, data, workdir, config=CONFIG):
    class Stopped(Exception):
        pass

    original = checkpoints.Checkpoints.save

    def save_and_stop(run, step):
        original(run, step)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(checkpoints.Checkpoints, "save", save_and_stop)
        runs.train(stage, config, [data], workdir)


def test_a_run_leaves_its_files_and_a_finished_run_is_not_repeated(prepared_data, trained):
    folder = trained / constants.STRUCTURE
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "choices.json", "trained_on.json", "checkpoints", "losses.csv", "previews", "tensorboard",
    }  # fmt: skip
    assert [p.name for p in sorted((folder / "previews").iterdir())] == ["0000002.png", "0000004.png"]
    before = (folder / "losses.csv").stat().st_mtime_ns
    runs.train(constants.STRUCTURE, CONFIG, [prepared_data], trained)
    assert (folder / "losses.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize("stage", [constants.STRUCTURE, constants.SEGMENTATION])
def test_checkpoints_know_nothing_of_keras_layers(stage, trained):
    names = [name for name, _ in tf.train.list_variables(checkpoints.newest(trained / stage))]
    assert names and not any("layer" in name for name in names)


def test_a_work_directory_with_other_settings_is_refused(prepared_data, trained):
    other = tree.override(CONFIG, {"structure.latent_dim": 5})
    with pytest.raises(WorkDirError, match=r"structure\.latent_dim is 4 there, 5 now"):
        runs.train(constants.STRUCTURE, other, [prepared_data], trained)


@pytest.mark.parametrize(
    "then, named", [({}, "match_codes"), ({"match_codes": False}, "match_codes"), (None, "record")]
)
def test_weights_of_another_meaning_of_a_formulation_are_refused(prepared_data, trained, tmp_path, then, named):
    folder = tmp_path / constants.STRUCTURE
    shutil.copytree(trained / constants.STRUCTURE, folder)
    choices = folder / "choices.json"
    runs.load(constants.STRUCTURE, tmp_path)
    if then is None:
        choices.unlink()
    else:
        now = json.loads(choices.read_text())
        choices.write_text(json.dumps({**now, **then} if then else {n: v for n, v in now.items() if n != named}))
    complaint = rf"Another version .* other choices \(.*{named}\)\. Train in another"
    with pytest.raises(WorkDirError, match=complaint):
        runs.load(constants.STRUCTURE, tmp_path)
    with pytest.raises(WorkDirError, match=complaint):
        runs.train(constants.STRUCTURE, CONFIG, [prepared_data], tmp_path)


def test_data_of_another_geometry_is_refused(prepared_data):
    other = dataclasses.replace(prepared_data.config, image_size=(32, 16))
    with pytest.raises(prepared.PreparedDataError, match=r"image_size is \(16, 16\) there and \(32, 16\) in"):
        prepared.require_same_geometry(prepared_data, other, "the models")


@pytest.mark.usefixtures("without_tracing")
def test_pretrained_lesion_processors_are_the_segmenters_and_stay(prepared_data, trained, tmp_path):
    config = fakes.tiny_config(4, base=CONFIG, synthesis__choices__pretrained_lesion=True)
    with pytest.raises(WorkDirError, match=r"run train\.py"):
        runs.train(constants.SYNTHESIS, config, [prepared_data], tmp_path)
    config = tree.override(config, {"synthesis.steps": 2})
    shutil.copytree(trained / constants.SEGMENTATION, tmp_path / constants.SEGMENTATION)
    runs.train(constants.SYNTHESIS, config, [prepared_data], tmp_path)
    segmenter, gan = (runs.load(stage, tmp_path)[0] for stage in (constants.SEGMENTATION, constants.SYNTHESIS))
    for a, b in zip(segmenter.lesion_processor.weights, gan.lesion_processor.weights, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))


def test_pretraining_ends_after_its_steps_wherever_a_run_begins():
    config = tree.override(CONFIG, {"synthesis.pretraining_steps": 3})
    model = fakes.modality_gan(config)
    model.compile(catalogue.STAGES[constants.SYNTHESIS].optimizers(config))
    # What a step does in which phase is tested with the model; this one says in which it is.
    model.train_step = lambda batch: {"pretraining": tf.constant(model.in_pretraining)}
    for first in (0, 2, 4):
        step, batches = model.make_train_function(), iter(tf.data.Dataset.range(5))
        for number in range(first, 5):
            for optimizer in model.optimizers.values():
                optimizer.iterations.assign(number)
            assert bool(step(batches)["pretraining"]) == (number < 3)


def test_a_damaged_checkpoint_is_one_clear_error(trained, tmp_path):
    shutil.copytree(trained / constants.STRUCTURE, tmp_path / constants.STRUCTURE)
    for path in (tmp_path / constants.STRUCTURE / "checkpoints").glob("*.data-*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WorkDirError, match="cannot be restored"):
        runs.load(constants.STRUCTURE, tmp_path)


@pytest.mark.usefixtures("without_tracing")
def test_non_finite_losses_stop_the_run_and_keep_the_checkpoint(prepared_data, tmp_path):
    config = tree.override(CONFIG, {"structure.learning_rate": 1e38})
    with pytest.raises(callbacks.NonFiniteLossError, match="became non-finite"):
        runs.train(constants.STRUCTURE, config, [prepared_data], tmp_path)
    assert not list((tmp_path / constants.STRUCTURE / "checkpoints").glob("*.index"))


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"make one with datasets/build\.py"):
        prepared.open_prepared(tmp_path)


@pytest.mark.usefixtures("without_tracing")
def test_several_data_sets_are_joined(prepared_data, tmp_path):
    runs.train(constants.SEGMENTATION, CONFIG, [prepared_data, prepared_data], tmp_path)
    assert len(run_folder.trained_on(constants.SEGMENTATION, tmp_path)) == 2


@pytest.mark.usefixtures("without_tracing")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(precision, prepared_data, tmp_path):
    config = tree.override(CONFIG, {"runtime.precision": precision})
    runs.train(constants.STRUCTURE, config, [prepared_data], tmp_path)
    assert all(np.isfinite(w).all() for w in weights(constants.STRUCTURE, tmp_path))
