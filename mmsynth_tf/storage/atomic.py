"""Files and folders that are either whole or absent, also when a program is killed."""

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
    """A temporary path beside `path` that takes its place when the block ends well, and is removed otherwise."""
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
        # Where writing fails, other than opening, the error does not say what was written.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(output: Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder that takes the name `output` when the block ends well and is deleted when it does not.

    What a process left that was killed is cleared away by the next that makes the same folder.

    Args:
      output: the folder.
      marker: file that such a folder holds; only a folder that holds it is ever replaced.
      overwrite: replace the folder if it exists.

    Raises:
      UserError: `output` exists and may not be overwritten, or nothing can be written there.
    """
    _put_back_replaced(output)
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists. Choose another --output, or replace it with --overwrite.")
    if output.exists() and not (output / marker).is_file():
        # A slip of the hand must not delete a folder of patients.
        raise UserError(
            f"{output} is not overwritten, for it was not made by this command ({marker} is missing). "
            "Choose another --output or delete it yourself."
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(output.parent, f".{output.name}.incomplete-")
        # Python's mkdtemp would give it to its owner alone; permissions of results follow the umask.
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
    """Where a process was killed between the two renames of a replacement, the old folder gets its name back."""
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
    """Temporary files and folders of processes that are no more; each is locked while it is looked at."""
    names = os.listdir(parent) if parent.is_dir() else []
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            with suppress(locks.LockedError, OSError), locks.holding(parent / name) as locked:
                if locked:
                    yield parent / name


def _flush(path: Path) -> None:
    """Waits until a file is on the disk: after a power failure a name must not stand for an empty file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file (UTF-8) atomically, making its folder if needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
