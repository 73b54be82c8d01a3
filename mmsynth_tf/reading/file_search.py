"""Lists files below a folder; handles links, unreadable folders and copies of files."""

import dataclasses
import hashlib
import os
from pathlib import Path

from mmsynth_tf.errors import UserError

_GZIP_MAGIC = b"\x1f\x8b"
_SAMPLE_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Listing:
    """The content of a folder, as POSIX paths that start with the folder's own name."""

    parent: Path  # The paths are relative to it.
    files: list[str]
    folders: list[str]


def as_given(path: Path) -> Path:
    """The absolute path with links kept, because a link's target may reveal the patient's identity.

    A path with `..` is resolved, because `..` after a link is ambiguous.
    """
    absolute = path.absolute()
    return absolute.resolve() if ".." in absolute.parts else absolute


def list_files(folder: Path) -> Listing:
    """Lists the files and folders below a folder in a fixed order, without hidden ones.

    Links to folders elsewhere are followed. Links to folders that are already listed, and circular links, are skipped:
    each folder is listed once.

    Raises:
      UserError: a folder cannot be read, or a name cannot be printed.
    """
    top, place = as_given(folder), folder.resolve()
    listing = Listing(top.parent, [], [])
    seen = {place}
    for parent, folders, names in os.walk(top, followlinks=True, onerror=_refuse_folder):
        for name in (*folders, *names):
            _require_printable(parent, name)
        folders[:] = sorted(name for name in folders if _is_new(Path(parent, name), place, seen))
        relative = Path(parent).relative_to(top.parent)
        listing.folders.extend((relative / name).as_posix() for name in folders)
        listing.files.extend((relative / name).as_posix() for name in sorted(names) if not name.startswith("."))
    return listing


def _refuse_folder(error: OSError) -> None:
    """Error handler for os.walk, which otherwise skips unreadable folders silently."""
    raise UserError(
        f"Cannot read the folder {error.filename} ({error.strerror}). Change its permissions or move it elsewhere."
    ) from error


def _require_printable(parent: str, name: str) -> None:
    """Refuses names that are not printable text, because case names are stored as text."""
    if not name.isprintable():
        raise UserError(
            f"The name of {os.path.join(parent, name)!a} cannot be printed (written in another encoding "
            "than UTF-8, or with control characters). Rename it."
        )


def _is_new(folder: Path, top: Path, seen: set[Path]) -> bool:
    """Whether to enter a folder; adds it to `seen`. `top` and `seen` are resolved."""
    if folder.name.startswith("."):
        return False
    place = folder.resolve()
    if place in seen or (folder.is_symlink() and place.is_relative_to(top)):
        return False
    seen.add(place)
    return True


def content_key(path: Path) -> tuple[int | bytes, ...] | None:
    """A cheap key that is equal for files of equal content, and rarely equal for others.

    For a gzip file, the key is the checksum and length of its content, so time and level of compression do not matter.
    For other files, it is the length and a sample from the middle.

    Returns:
      None if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            size = file.seek(0, os.SEEK_END)
            if packed and size > 8:
                file.seek(-8, os.SEEK_END)
                return (file.read(8),)
            file.seek(max(size - _SAMPLE_BYTES, 0) // 2)
            return size, hashlib.sha256(file.read(_SAMPLE_BYTES)).digest()
    except OSError:
        return None
