import subprocess
import sys
from pathlib import Path

import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import atomic, locks

REPOSITORY = Path(__file__).resolve().parents[2]


def test_new_folder_appears_when_whole(tmp_path):
    output = tmp_path / "a" / "b"
    with atomic.new_folder(output, "marker") as folder:
        (folder / "x").touch()
        assert not output.exists()
    assert [path.name for path in output.iterdir()] == ["x"]
    assert [path.name for path in output.parent.iterdir()] == ["b"]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic.new_folder(tmp_path / "a", "marker") as folder:
        (folder / "x").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_replaces_only_when_asked_and_only_by_something_whole(tmp_path):
    output = tmp_path / "a"
    output.mkdir()
    (output / "old").touch()
    with pytest.raises(UserError, match="marker is missing"), atomic.new_folder(output, "marker", overwrite=True):
        pass
    (output / "marker").touch()
    with pytest.raises(UserError, match="--overwrite"), atomic.new_folder(output, "marker"):
        pass
    with pytest.raises(RuntimeError), atomic.new_folder(output, "marker", overwrite=True):
        raise RuntimeError
    assert (output / "old").exists()
    with atomic.new_folder(output, "marker", overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in output.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def die_within(statement: str) -> None:
    """Runs a block of `atomic` in a process that ends within it, as SIGKILL ends it."""
    code = f"import os, pathlib; from mmsynth_tf.storage import atomic\nwith {statement} as made:\n    os._exit(0)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_what_killed_processes_left_is_cleared_away(tmp_path):
    output, file = tmp_path / "a", tmp_path / "b.txt"
    die_within(f"atomic.new_folder(pathlib.Path({str(output)!r}), 'marker')")
    die_within(f"atomic.atomic_path({str(file)!r})")
    assert len(list(tmp_path.iterdir())) == 2
    with atomic.new_folder(output, "marker"):
        pass
    atomic.write_text(file, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.txt"]


def test_what_living_processes_are_writing_stays(tmp_path):
    # A lock belongs to an open file, so that one process can stand for two.
    file = tmp_path / ".b.txt.1.tmp"
    file.touch()
    with atomic.new_folder(tmp_path / "a", "marker") as folder, locks.holding(file):
        with atomic.new_folder(tmp_path / "a", "marker"):
            atomic.write_text(tmp_path / "b.txt", "text")
            assert folder.exists() and file.exists()
        (tmp_path / "a").rmdir()


def test_a_folder_whose_replacement_was_killed_half_way_is_put_back(tmp_path):
    (tmp_path / ".a.replaced-x" / "a").mkdir(parents=True)
    (tmp_path / ".a.replaced-x" / "a" / "old").touch()
    with pytest.raises(UserError, match="--overwrite"), atomic.new_folder(tmp_path / "a", "marker"):
        pass
    assert (tmp_path / "a" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_lock_keeps_others_out_until_it_is_given_back(tmp_path):
    with locks.holding(tmp_path) as locked:
        assert locked
        with pytest.raises(locks.LockedError, match="Another process is using"), locks.holding(tmp_path):
            pass
    with locks.holding(tmp_path) as locked:
        assert locked
