"""Folders may have any name; paths may begin with `~`; permissions follow the umask."""

import ast
import functools
import os
import shutil
import stat
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

from mmsynth_tf import prepared
from mmsynth_tf.configs import path_flags
from mmsynth_tf.experiments import study
from mmsynth_tf.export import saved_models
from mmsynth_tf.storage import atomic, plain_paths
from mmsynth_tf.training import checkpoints

REPOSITORY = Path(__file__).resolve().parents[2]
ODD_NAMES = ["a[1]", "b*", "c?", "[d", "e]", "f\\g", "a{b,c}", "with space"]
PROGRAMS = [
    *REPOSITORY.glob("*.py"),
    *(path for name in ("datasets", "mmsynth_tf", "tools", "benchmarks") for path in (REPOSITORY / name).rglob("*.py")),
]
# Flags that hold text, numbers or names; every other flag of text is a path.
NO_PATHS = {
    "beam_options",
    "label_release",
    "leave_out",
    "modality",
    "pages",
    "preset",
    "release",
    "rows",
    "sample",
    "seeds",
    "source",
    "targets",
}


def run_of(folder: Path, value: float, keep: int = 1) -> tuple[checkpoints.Checkpoints, tf.Variable]:
    variable = tf.Variable(value)
    return checkpoints.Checkpoints(folder, keep, {"value": variable}, num_terms=1), variable


@pytest.mark.parametrize("name", ODD_NAMES)
def test_checkpoints_are_restored_from_a_folder_of_any_name(tmp_path, name):
    saved, _ = run_of(tmp_path / name, 3.0)
    saved.save(1)
    saved.save(2)
    restored, variable = run_of(tmp_path / name, 0.0)
    assert restored.restore() == 2
    assert variable.numpy() == 3.0
    assert checkpoints.newest(tmp_path / name) == str(tmp_path / name / "checkpoints" / "ckpt-2")
    names = {path.name for path in (tmp_path / name / "checkpoints").iterdir()}
    assert names == {"checkpoint", "ckpt-2.index", "ckpt-2.data-00000-of-00001"}


@pytest.mark.parametrize("name", ["run*", "run?", "run[0-9]"])
def test_a_run_never_deletes_checkpoints_of_other_runs(tmp_path, name):
    other, _ = run_of(tmp_path / "run1", 1.0)
    other.save(1)
    own, _ = run_of(tmp_path / name, 2.0)
    own.save(1)
    own.save(2)  # Deletes its first.
    assert checkpoints.newest(tmp_path / "run1") == str(tmp_path / "run1" / "checkpoints" / "ckpt-1")
    assert not (tmp_path / name / "checkpoints" / "ckpt-1.index").exists()


def test_restoring_alone_makes_no_folder(tmp_path):
    run_of(tmp_path / "a[1]", 0.0)[0].restore()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_exported_models_are_loaded_from_a_folder_of_any_name(tmp_path, name):
    variable = tf.Variable(3.0)
    double = tf.function(lambda x: {"y": variable * x}).get_concrete_function(tf.TensorSpec([], tf.float32, "x"))
    saved_models.save({"double": double}, tmp_path / name)
    text = f'{{"format_version": {saved_models.FORMAT_VERSION}, "signatures": {{"double": {{}}}}}}'
    (tmp_path / name / saved_models.METADATA_FILE).write_text(text)
    loaded = saved_models.load_exported(tmp_path / name)
    assert loaded.signatures["double"](x=tf.constant(2.0))["y"].numpy() == 6.0


def test_a_plain_folder_stays_as_it_is(tmp_path):
    assert plain_paths.plain(tmp_path / "a") == tmp_path / "a"


@pytest.mark.parametrize("given", [["--one=~/a", "--several=~/b,c,~/d"], ["--one", "~/a", "--several", "~/b,c,~/d"]])
def test_path_flags_expand_the_home_folder(monkeypatch, given):
    monkeypatch.setenv("HOME", "/home/me")
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "DEFINE", functools.partial(flags.DEFINE, flag_values=values))
    one, several = path_flags.define_path("one", None, ""), path_flags.define_paths("several", [], "")
    values(["program", *given])
    assert one.value == "/home/me/a"
    assert several.value == ["/home/me/b", "c", "/home/me/d"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_flag_that_holds_a_path_is_a_path_flag(path):
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("flags.DEFINE_string", "flags.DEFINE_list"):
            name = ast.literal_eval(call.args[0]) if isinstance(call.args[0], ast.Constant) else None
            assert name in NO_PATHS or path.name == "flags.py"


@pytest.mark.parametrize(("umask", "folders", "files"), [(0o002, 0o775, 0o664), (0o077, 0o700, 0o600)])
def test_new_folders_follow_the_umask(tmp_path, umask, folders, files):
    before = os.umask(umask)
    try:
        for _ in range(2):  # Made, then replaced.
            with atomic.new_folder(tmp_path / "a", "marker", overwrite=True) as folder:
                atomic.write_text(folder / "marker", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == folders
    assert stat.S_IMODE((tmp_path / "a" / "marker").stat().st_mode) == files


@pytest.mark.parametrize("name", ODD_NAMES)
def test_prepared_data_is_read_from_a_folder_of_any_name(tmp_path, prepared_data, name):
    shutil.copytree(prepared_data.path, tmp_path / name)
    expected = [int(example["slice_index"]) for example in prepared_data.slices("train")]
    found = [int(example["slice_index"]) for example in prepared.open_prepared(tmp_path / name).slices("train")]
    assert found == expected


def test_the_name_of_a_data_set_is_the_one_it_was_given(tmp_path, prepared_data):
    (tmp_path / "anonymous").symlink_to(prepared_data.path.absolute())
    assert study.data_name(prepared.open_prepared(tmp_path / "anonymous")) == "anonymous"
