import gzip
import os

import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.file_search import as_given, content_key, list_files


def test_each_folder_is_listed_once_in_order(tmp_path):
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    for path in (top / "b" / "two", top / "a" / "one", top / ".hidden" / "no", elsewhere / "three"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (top / "a" / "up").symlink_to(top)
    (top / "0").symlink_to(top / "b")
    (top / "c").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(tmp_path)
    listing = list_files(top)
    assert listing.files == ["top/a/one", "top/b/two", "top/c/three"]
    assert listing.parent / "top/c/three" == tmp_path / "top" / "c" / "three"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "patients").mkdir()
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "patients":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"Cannot read the folder .*patients \(Permission denied\)"):
        list_files(tmp_path)


def test_key_follows_content_and_not_packing(tmp_path):
    contents = {
        "a": gzip.compress(b"voxels" * 999),
        "a_repacked": gzip.compress(b"voxels" * 999, compresslevel=1),
        "b": gzip.compress(b"other!" * 999),
        "plain": b"voxels" * 999,
        "plain_other": b"other!" * 999,
        "tiny": b"",
    }
    keys = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        keys[name] = content_key(tmp_path / name)
    assert keys["a"] == keys["a_repacked"]
    assert len(set(keys.values())) == len(keys) - 1
    assert content_key(tmp_path / "none") is None


def test_a_folder_that_is_a_link_keeps_the_name_it_was_given(tmp_path):
    (tmp_path / "jane_doe").mkdir()
    (tmp_path / "jane_doe" / "x.nii").touch()
    (tmp_path / "anonymous").symlink_to("jane_doe")
    listing = list_files(tmp_path / "anonymous")
    assert listing.files == ["anonymous/x.nii"]
    assert (listing.parent / listing.files[0]).is_file()


def test_the_parent_of_a_link_is_that_of_its_target(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    assert as_given(tmp_path / "link") == tmp_path / "link"
    assert as_given(tmp_path / "link" / "..") == tmp_path / "a"
