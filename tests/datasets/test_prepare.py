import errno
import shutil
import types

import pytest

from datasets import prepare
from mmsynth_tf.storage import atomic


def test_small_disk_is_refused_before_work_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=2**20))
    prepare.require_space(tmp_path, 2**20)
    with pytest.raises(OSError, match="needs about 2 MiB and 1 MiB are free") as caught:
        prepare.require_space(tmp_path, 2**21)
    assert caught.value.errno == errno.ENOSPC


def test_disk_that_fills_up_while_writing_is_an_os_error(tmp_path):
    class FullDisk:
        def __init__(self, data_dir):
            self.data_dir = data_dir

        def download_and_prepare(self, **options):
            raise RuntimeError("ResourceExhaustedError: a.tfrecord; No space left on device")

    with (
        pytest.raises(OSError, match="No space left") as caught,
        atomic.new_folder(tmp_path / "a", "marker") as folder,
    ):
        prepare.write_data_set(FullDisk, folder, dict)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
