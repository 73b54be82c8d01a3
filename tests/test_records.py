import pytest

from mmsynth_tf import records
from mmsynth_tf.commands import UserError


def test_new_folder_appears_when_whole(tmp_path):
    output = tmp_path / "a" / "b"
    with records.new_folder(output, "marker") as folder:
        (folder / "x").touch()
        assert not output.exists()
    assert [path.name for path in output.iterdir()] == ["x"]
    assert [path.name for path in output.parent.iterdir()] == ["b"]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), records.new_folder(tmp_path / "a", "marker") as folder:
        (folder / "x").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_replaces_only_when_asked_and_only_by_something_whole(tmp_path):
    output = tmp_path / "a"
    output.mkdir()
    (output / "old").touch()
    with pytest.raises(UserError, match="marker is missing"), records.new_folder(output, "marker", overwrite=True):
        pass
    (output / "marker").touch()
    with pytest.raises(UserError, match="--overwrite"), records.new_folder(output, "marker"):
        pass
    with pytest.raises(RuntimeError), records.new_folder(output, "marker", overwrite=True):
        raise RuntimeError
    assert (output / "old").exists()
    with records.new_folder(output, "marker", overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in output.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
