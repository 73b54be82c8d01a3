"""Locks on files and folders. A lock is released when its process ends, even if it is killed."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from mmsynth_tf.errors import UserError


class LockedError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def holding(path: str | os.PathLike) -> Iterator[bool]:
    """Holds the lock of a file or folder within the block.

    Yields:
      Whether locks are supported; some network file systems have none.

    Raises:
      LockedError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _lock(descriptor, path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str | os.PathLike) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError(f"Another process is using {path}. Wait until it ends, or choose another folder.") from error
    except OSError:
        return False
    return True
