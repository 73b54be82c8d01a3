"""Paths without glob characters, which TensorFlow takes literally.

TensorFlow reads the path of a checkpoint as a glob pattern. With `[1]` it does not find files, and with `*` it may
delete old checkpoints in other folders.
"""

import atexit
import functools
import re
import shutil
import tempfile
from pathlib import Path

_SPECIAL = re.compile(r"[][*?\\]")


def plain(folder: Path) -> Path:
    """The folder, or a symbolic link to it without glob characters; links exist until the process ends."""
    absolute = folder.absolute()
    return _link(absolute) if _SPECIAL.search(str(absolute)) else folder


@functools.cache
def _link(folder: Path) -> Path:
    links = tempfile.mkdtemp(prefix="mmsynth_tf-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    link = Path(links) / "folder"
    link.symlink_to(folder, target_is_directory=True)
    return link
