"""Paths that TensorFlow takes literally.

TensorFlow reads the path of a checkpoint as a pattern: `[1]` in it hides files, and `*` lets old checkpoints of other
folders be deleted.
"""

import atexit
import functools
import re
import shutil
import tempfile
from pathlib import Path

_SPECIAL = re.compile(r"[][*?\\]")


def plain(folder: Path) -> Path:
    """The folder, or a link to it whose path holds no character of patterns; links last as long as the process."""
    absolute = folder.absolute()
    return _link(absolute) if _SPECIAL.search(str(absolute)) else folder


@functools.cache
def _link(folder: Path) -> Path:
    links = tempfile.mkdtemp(prefix="mmsynth_tf-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    link = Path(links) / "folder"
    link.symlink_to(folder, target_is_directory=True)
    return link
