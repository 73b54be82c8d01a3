"""Finds images to view: every NIfTI file, grouped by case and named by its file.

`mmsynth_tf.reading.releases`, in contrast, finds only the files that training needs.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import file_search

_NIFTI = re.compile(r"(?P<stem>[^.].*?)\.nii(?:\.gz)?", re.IGNORECASE)
_LABEL = re.compile(r"(?P<case>.+)[_-](?:seg|label|labels|mask)", re.IGNORECASE)
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<name>\d{4})")
# Folders of nnU-Net and of the Medical Segmentation Decathlon, which separate images from labels.
_SPLIT_FOLDERS = re.compile(r"(?P<kind>images|labels)(?P<split>T[rs])")
_NAMELESS = "image"


@dataclasses.dataclass(frozen=True)
class CaseImages:
    """The files of one case; the keys of `images` are the distinct parts of the file names."""

    name: str
    images: Mapping[str, Path]
    label: Path | None


def find_images(path: Path) -> list[CaseImages]:
    """Finds the cases in a folder, at any depth, or the one case of an image file.

    Args:
      path: a NIfTI file, or a folder with `<case>_<modality>.nii[.gz]` and `<case>_seg.nii[.gz]` (BraTS, custom) or
        with imagesTr/ and labelsTr/ (nnU-Net, Decathlon).

    Raises:
      UserError: the path does not exist, or holds no image.
    """
    if path.is_file() and _NIFTI.fullmatch(path.name):
        return [CaseImages(_stem(path), {_NAMELESS: path}, None)]
    if not path.is_dir():
        raise UserError(f"{path} is no folder and no NIfTI file. Give a file, a case, or a folder that holds cases.")
    images: dict[tuple[Path, str], dict[str, Path]] = collections.defaultdict(dict)
    labels: dict[tuple[Path, str], Path] = {}
    for folder, files in _files_by_folder(path):
        labelled = {match["case"] for file in files if (match := _LABEL.fullmatch(_stem(file)))}
        for file in files:
            key, name = _place(file, folder, labelled)
            if name is None:
                labels[key] = file
            else:
                images[key][name] = file
    if not images:
        raise UserError(f"No image in {path}. Expected files such as <case>_<modality>.nii.gz and <case>_seg.nii.gz.")
    names = _names(images, file_search.as_given(path))
    return [CaseImages(name, images[key], labels.get(key)) for key, name in names.items()]


def _files_by_folder(top: Path) -> Iterator[tuple[Path, list[Path]]]:
    listing = file_search.list_files(top)
    paths = sorted((listing.parent / file for file in listing.files), key=lambda file: (file.parent, file.name))
    for folder, files in itertools.groupby(paths, key=lambda file: file.parent):
        yield folder, [file for file in files if _NIFTI.fullmatch(file.name)]


def _names(keys: Iterable[tuple[Path, str]], top: Path) -> dict[tuple[Path, str], str]:
    """Display names of each (folder, case), in order; the folder is included if case names repeat."""
    keys = sorted(keys)
    counts = collections.Counter(case for _, case in keys)

    def long_name(folder: Path, case: str) -> str:
        place = folder.relative_to(top)
        return (place if folder.name == case else place / case).as_posix()

    return {key: key[1] if counts[key[1]] == 1 else long_name(*key) for key in keys}


def _place(file: Path, folder: Path, labelled: Iterable[str]) -> tuple[tuple[Path, str], str | None]:
    """Where a file belongs: ((folder, case), name of the image), the name being None for a label."""
    stem, split = _stem(file), _SPLIT_FOLDERS.fullmatch(folder.name)
    if split:
        match = _CHANNEL.fullmatch(stem) if split["kind"] == "images" else None
        name = None if split["kind"] == "labels" else match["name"] if match else _NAMELESS
        return (folder.parent / split["split"], match["case"] if match else stem), name
    if match := _LABEL.fullmatch(stem):
        return (folder, match["case"]), None
    owners = [case for case in (*labelled, folder.name) if stem.startswith((f"{case}_", f"{case}-"))]
    if owners:
        case = max(owners, key=len)
        return (folder, case), stem[len(case) + 1 :]
    case, separator, name = stem.rpartition("_")
    return (folder, case if separator else stem), name if separator else _NAMELESS


def _stem(path: Path) -> str:
    return _NIFTI.fullmatch(path.name)["stem"]
