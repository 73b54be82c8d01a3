"""What stops a run, spoils its files or makes its losses non-finite, on the smallest stage model."""

import ast
import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants, program
from mmsynth_tf.errors import Interrupted, WorkDirError
from mmsynth_tf.storage import locks, records
from mmsynth_tf.training import anomaly, callbacks, checkpoints, run_folder, runs, stopping
from tests.fakes import fakes, two_scales
from tests.fakes.two_scales import TwoScales

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    two_scales.run(folder)
    return folder


def values_of(folder: Path) -> dict[str, np.ndarray]:
    """Everything that the newest checkpoint holds: weights, optimizers' slots, step."""
    reader = tf.train.load_checkpoint(checkpoints.newest(folder))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if "CHECKPOINTABLE" not in name and "counter" not in name}


def events_of(folder: Path) -> list[tuple[int, str]]:
    """Step and tag of all events in all of TensorBoard's files."""
    events = (e for file in (folder / "tensorboard").iterdir() for e in tf.compat.v1.train.summary_iterator(str(file)))
    return sorted((event.step, value.tag) for event in events for value in event.summary.value)


def assert_same_run(folder: Path, expected: Path) -> None:
    found, wanted = values_of(folder), values_of(expected)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for name in ("losses.csv", *(f"previews/{step:07d}.png" for step in (2, 4, 6))):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert events_of(folder) == events_of(expected)
    assert not list(folder.rglob("*.tmp"))


def test_a_run_that_ends_within_an_interval_logs_and_saves_its_last_step(tmp_path):
    for name, interval in (("each", 1), ("some", 4)):
        (tmp_path / name).mkdir()
        two_scales.run(tmp_path / name, interval=interval)
    each, some = (records.read_columns(tmp_path / name / callbacks.LOSSES_FILE) for name in ("each", "some"))
    assert list(map(int, some["step"])) == [4, 6]
    assert checkpoints.newest(tmp_path / "some").endswith("ckpt-6")
    fits = list(map(float, each["fit"]))
    np.testing.assert_allclose(list(map(float, some["fit"])), [np.mean(fits[:4]), np.mean(fits[4:])], rtol=1e-6)


def at(step: int, action):
    """For `two_scales.run`: does something within a step, counted from 1."""
    return lambda number: action() if number == step - 1 else None


@pytest.mark.parametrize(
    ("step", "number"), [(1, signal.SIGTERM), (3, signal.SIGINT), (4, signal.SIGTERM), (6, signal.SIGTERM)]
)
def test_a_run_that_is_told_to_stop_saves_the_step_and_goes_on_from_there(step, number, undisturbed, tmp_path):
    # The first step is done before there is anything to save, so a signal within it stops at once.
    saved = 0 if step == 1 else step
    with pytest.raises(Interrupted) as stopped:
        two_scales.run(tmp_path, after_step=at(step, lambda: os.kill(os.getpid(), number)))
    assert stopped.value.exit_status == 128 + number
    assert [Path(path).name for path in checkpoints.paths(tmp_path)][:1] == ([f"ckpt-{saved}"] if saved else [])
    two_scales.run(tmp_path)
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_run_that_dies_within_a_step_goes_on_from_its_checkpoint(step, undisturbed, tmp_path):
    def die():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        two_scales.run(tmp_path, after_step=at(step, die))
    two_scales.run(tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_a_run_that_dies_after_its_log_is_written_drops_what_is_beyond_the_checkpoint(
    undisturbed, tmp_path, monkeypatch
):
    def die(self, step):
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(checkpoints.Checkpoints, "save", die)
        two_scales.run(tmp_path)
    assert (tmp_path / "losses.csv").exists()
    two_scales.run(tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_who_asks_twice_does_not_wait():
    with pytest.raises(Interrupted, match="SIGINT"), stopping.deferred() as deferral:
        deferral.armed = True
        signal.raise_signal(signal.SIGTERM)
        assert deferral.requested == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)


def test_a_signal_that_nobody_asked_for_is_raised_at_the_end():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"), stopping.deferred() as deferral:
        deferral.armed = True
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_programs_that_are_stopped_say_so_in_one_line(number, status):
    sleeper = "lambda argv: (print('ready', flush=True), time.sleep(60))"
    code = f"import time; from mmsynth_tf import program; program.run({sleeper})"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, **pipes) as process:
        process.stdout.readline()
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert process.returncode == status
    assert message == f"Stopped by {signal.Signals(number).name}. Run the same command again to continue.\n"


def test_two_runs_in_one_folder_are_refused(prepared_data, tmp_path):
    (tmp_path / constants.STRUCTURE).mkdir()
    with locks.holding(tmp_path / constants.STRUCTURE), pytest.raises(locks.LockedError, match="Another process"):
        runs.train(constants.STRUCTURE, fakes.tiny_config(4), [prepared_data], tmp_path)


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    spoilt = {
        "truncated": content[:middle],
        "empty": b"",
        "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
    }
    path.write_bytes(spoilt[how])


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("data-00000-of-00001", "truncated"),
        ("data-00000-of-00001", "flipped"),
        ("index", "truncated"),
        ("index", "empty"),
    ],
)
def test_a_damaged_newest_checkpoint_is_passed_over(file, how, undisturbed, tmp_path, caplog):
    two_scales.run(tmp_path)
    spoil(tmp_path / "checkpoints" / f"ckpt-6.{file}", how)
    with caplog.at_level(logging.WARNING, "mmsynth_tf"):
        assert checkpoints.newest(tmp_path).endswith("ckpt-4")
    assert "ckpt-6 is damaged" in caplog.text and "ckpt-4 is used instead" in caplog.text
    two_scales.run(tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_if_all_checkpoints_are_damaged_that_is_one_clear_error(tmp_path):
    two_scales.run(tmp_path)
    for path in (tmp_path / "checkpoints").glob("*.data-*"):
        spoil(path, "truncated")
    with pytest.raises(WorkDirError, match=r"ckpt-6 is damaged .*ckpt-4 is damaged .*Delete"):
        two_scales.run(tmp_path)


def test_a_first_checkpoint_that_was_never_finished_is_none(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-2.index").touch()
    assert checkpoints.newest(tmp_path) is None


def test_checkpoints_are_found_without_the_list_of_them(tmp_path):
    two_scales.run(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    assert checkpoints.newest(tmp_path).endswith("ckpt-6")


def test_leftovers_of_saving_are_removed_and_other_files_are_not(tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "ckpt-4_temp").mkdir(parents=True)
    for name in (
        "ckpt-4_temp/part",
        "ckpt-1.data-00000-of-00001",
        "ckpt-6.index.tempstate1",
        "checkpoint.tmp12",
        "ckpt notes",
    ):
        (folder / name).touch()
    two_scales.run(tmp_path)
    files = [f"ckpt-{step}.{part}" for step in (4, 6) for part in ("data-00000-of-00001", "index")]
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "ckpt notes", *files]


def test_a_checkpoint_of_another_model_is_one_clear_error(tmp_path):
    two_scales.run(tmp_path)
    other = TwoScales()
    other.second = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(2)])
    other.groups = {**other.groups, "second": type(other.groups["second"])((other.second,), ("pull",))}
    with pytest.raises(WorkDirError, match="ckpt-6 cannot be restored: it was written by another version"):
        two_scales.run(tmp_path, model=other)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")


def full_disk_of_tensorflow(*args, **kwargs):
    raise tf.errors.ResourceExhaustedError(None, None, "{{node save}} file; No space left on device [Op:SaveV2]")


@pytest.mark.parametrize(
    ("owner", "name", "failure"),
    [
        (os, "fsync", full_disk),
        (Path, "write_bytes", full_disk),
        (tf.train.CheckpointManager, "save", full_disk_of_tensorflow),
    ],
    ids=["log", "preview", "checkpoint"],
)
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_when_there_is_space(
    owner, name, failure, undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises((OSError, tf.errors.OpError)) as caught:
        two_scales.run(tmp_path, after_step=at(4, lambda: patch.setattr(owner, name, failure)))
    message = program.explain(caught.value)
    assert message.startswith("The disk is full: ") and "file" in message and "{" not in message
    assert checkpoints.newest(tmp_path).endswith("ckpt-2")
    two_scales.run(tmp_path)
    assert_same_run(tmp_path, undisturbed)


def batches_with(value: float, step: int):
    """Batches that hold `value` at a step, counted from 1."""

    def batches(start):
        numbers = tf.data.Dataset.counter(start)
        return numbers.map(lambda s: {"x": tf.fill([2, 1], tf.where(s == step - 1, value, 1.0))})

    return batches


def test_a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_kept(tmp_path):
    with pytest.raises(callbacks.NonFiniteLossError, match=r"^fit, .*pull became non-finite in step 5\. .*npz"):
        two_scales.run(tmp_path, batches=batches_with(np.nan, 5))
    kept = np.load(tmp_path / "non_finite" / "step_0000005.npz", allow_pickle=False)
    assert np.isnan(kept["batch_x"]).all() and np.isnan(kept["value_fit"])
    assert checkpoints.newest(tmp_path).endswith("ckpt-4")


class Root(TwoScales):
    """The root of z, whose slope at 0 is infinite."""

    def loss_terms(self, batch, tensors):
        return {name: tf.sqrt(term) for name, term in super().loss_terms(batch, tensors).items()}


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(callbacks.NonFiniteLossError, match=r"^gradient of first, gradient of second became"):
        two_scales.run(tmp_path, model=Root(), batches=batches_with(0.0, 2))


def test_gradients_of_scaled_losses_may_overflow(tmp_path):
    scaling = tf.keras.mixed_precision.LossScaleOptimizer
    two_scales.run(tmp_path, optimizer=lambda: scaling(tf.keras.optimizers.SGD(0.1), initial_scale=1e38))


def test_the_operation_that_makes_the_first_nan_is_named(tmp_path):
    with pytest.raises(callbacks.NonFiniteLossError, match=r"in the output of .*Sqrt"), anomaly.detected():
        two_scales.run(tmp_path, model=Root(), batches=batches_with(-1.0, 2))


# Its two runs share a process, for the start of TensorFlow takes longer than they do.
TRAIN_TWICE = """
import sys
from absl import flags
import train
*arguments, one, other = sys.argv
flags.FLAGS([*arguments, f"--workdir={one}"])
train.main(sys.argv[:1])
flags.FLAGS.workdir = other
train.main(sys.argv[:1])
"""


def test_a_deterministic_run_repeats_to_the_last_bit(prepared_data, tmp_path):
    sizes = ["latent_dim=4", "base_filters=2", "max_filters=4", "discriminator_filters=2"]
    lengths = ["steps=2", "batch_size=2"]
    settings = [f"--config.structure.{setting}" for setting in sizes + lengths]
    arguments = ["--stage=structure", f"--data_dir={prepared_data.path}", "--deterministic", *settings]
    folders = [tmp_path / "a", tmp_path / "b"]
    command = [sys.executable, "-c", TRAIN_TWICE, *arguments, *map(str, folders)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    a, b = (values_of(folder / "structure") for folder in folders)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "5", '{"structure": 5}', '{"structure": {"steps": "many"}}', '{"data": {"regions": [1]}}', '{"new": 1}'],
)
def test_a_configuration_that_this_version_cannot_have_written_is_one_clear_error(content, tmp_path):
    (tmp_path / "structure").mkdir()
    (tmp_path / "structure" / run_folder.CONFIG_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(WorkDirError, match=r"config\.json is not a configuration of this version: ."):
        runs.load(constants.STRUCTURE, tmp_path)


SOURCES = [
    *(path for folder in ("mmsynth_tf", "datasets", "tools") for path in (REPOSITORY / folder).rglob("*.py")),
    REPOSITORY / "train.py",
    REPOSITORY / "evaluate.py",
]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile_command", "load_model", "enable_unsafe_deserialization", "Lambda", "system"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_that_is_read_can_run_code(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not FORBIDDEN_MODULES & {name.split(".")[0] for name in names}, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            assert is_harmless(node), f"line {node.lineno}: {ast.unparse(node)}"


def is_harmless(call: ast.Call) -> bool:
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    name = ast.unparse(call.func)
    if name.endswith(("np.load", "numpy.load")):
        return options.get("allow_pickle") == "False"
    return name.split(".")[-1] not in FORBIDDEN_CALLS and options.get("shell", "False") == "False"
