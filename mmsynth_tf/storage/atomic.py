"""Atomic writes: files and folders are either complete or absent, even if the process is killed."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import locks


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path`; it replaces `path` if the block succeeds and is removed otherwise."""
    path = Path(path)
    _remove_abandoned(path.parent, f".{path.name}.", ".tmp")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        with locks.holding(temporary):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
    except OSError as error:
        # Unlike errors of opening, errors of writing do not name the file.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Refuses an output that exists, unless it may be overwritten.

    Raises:
      UserError: as said.
    """
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists. Choose another --output, or replace it with --overwrite.")


@contextmanager
def new_folder(output: Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that is renamed to `output` if the block succeeds and deleted otherwise.

    Remains of a killed process are removed when the same folder is made again.

    Args:
      output: the folder.
      marker: name of a file in such a folder; only folders that contain it are replaced.
      overwrite: replace the folder if it exists.

    Raises:
      UserError: `output` exists and may not be overwritten, or its location is not writable.
    """
    _put_back_replaced(output)
    refuse_existing(output, overwrite)
    if output.exists() and not (output / marker).is_file():
        # A mistyped path must not delete a folder of patients.
        raise UserError(
            f"{output} is not overwritten, because this command did not write it ({marker} is missing). "
            "Choose another --output, or delete the folder yourself."
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(output.parent, f".{output.name}.incomplete-")
        # Not mkdtemp, which restricts access to the owner: permissions of results follow the umask.
        scratch = output.with_name(f".{output.name}.incomplete-{secrets.token_hex(8)}")
        scratch.mkdir()
    except OSError as error:
        raise UserError(
            f"Cannot write in {output.parent} ({error.strerror}). Choose another --output or change its permissions."
        ) from error
    try:
        with locks.holding(scratch):
            yield scratch
            _replace_folder(scratch, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace_folder(scratch: Path, output: Path) -> None:
    if not output.exists():
        scratch.rename(output)
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{output.name}.replaced-", dir=output.parent))
    with locks.holding(replaced):
        output.rename(replaced / output.name)
        scratch.rename(output)
        shutil.rmtree(replaced)


def _put_back_replaced(output: Path) -> None:
    """Restores the old folder if a process was killed between the two renames of a replacement."""
    for replaced in _abandoned(output.parent, f".{output.name}.replaced-"):
        if not output.exists() and (replaced / output.name).exists():
            (replaced / output.name).rename(output)
        shutil.rmtree(replaced, ignore_errors=True)


def _remove_abandoned(parent: Path, prefix: str, suffix: str = "") -> None:
    for path in _abandoned(parent, prefix, suffix):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _abandoned(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Temporary files and folders of processes that have ended; each is locked while it is handled."""
    names = os.listdir(parent) if parent.is_dir() else []
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            with suppress(locks.LockedError, OSError), locks.holding(parent / name) as locked:
                if locked:
                    yield parent / name


def _flush(path: Path) -> None:
    """Flushes a file to disk, so that a power failure does not leave an empty file under the final name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file (UTF-8) atomically, making its folder if needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
