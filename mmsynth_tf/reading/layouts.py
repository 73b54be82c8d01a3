"""Detects files and folders that look like cases of a release but are not, with a remedy for each."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmsynth_tf.reading.file_search import Listing
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.release_table import Release

# Endings of image files, readable or not.
IMAGE_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".img", ".dcm")
# BIDS: subject, and a contrast agent among the entities before the last part, which names the modality.
_AFTER_CONTRAST = re.compile(r"(?:.*/)?sub-[^/]*_ce-[^_/]+_[^/]*", re.IGNORECASE)
_AGENT = re.compile(r"(?:^|_)ce-", re.IGNORECASE)
# macOS writes this file into each folder that is viewed, even an empty one.
_OF_NO_CASE = {".DS_Store"}
_MOST_SHOWN = 3


def some(names: Sequence[str]) -> str:
    """The first names, and the number of further names."""
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_ENDINGS)


def set_aside(
    folder: Path, listing: Listing, releases: Sequence[Release], modalities: Sequence[str]
) -> tuple[Listing, list[Problem]]:
    """Removes files that would be misread from the listing, and reports them and empty folders."""
    problems = []
    wrappers = [path for path in listing.folders if is_image(path)]
    if wrappers:
        text = (
            f"{_counted(len(wrappers), 'folder has the name of an image', 'folders have the names of images')} "
            "(Kaggle's copy of BraTS 2021 is such)"
        )
        remedy = "Move each image out of its folder, remove the folder and give the image the folder's name"
        problems.append(_problem(folder, wrappers, text, remedy))
    inside = tuple(
        f"{path}/" for path in wrappers if any(_is_volume(path, release, modalities) for release in releases)
    )
    contrast = [path for path in listing.files if _is_hidden_by_contrast(path, releases, modalities)]
    if contrast:
        text = "not used, because the name says contrast agent (ce-), which its last part does not show"
        remedy = "Rename them to <case>_<modality>, such as sub-01_t1c.nii.gz, and name it in --config.data.modalities"
        problems.append(_problem(folder, contrast, text, remedy))
    if empty := _empty_folders(listing):
        text = f"{_counted(len(empty), 'folder holds', 'folders hold')} no file"
        problems.append(_problem(folder, empty, text, "Copy or download what belongs there again, or remove it"))
    files = [path for path in listing.files if path not in set(contrast) and not path.startswith(inside)]
    return dataclasses.replace(listing, files=files), problems


def is_after_contrast(path: str) -> bool:
    """Whether a BIDS name has a contrast agent entity before its last part."""
    return _AFTER_CONTRAST.fullmatch(path) is not None


def hides_contrast(match: re.Match) -> bool:
    """Whether a file name mentions a contrast agent, although the matched modality's name does not."""
    return is_after_contrast(match[0]) and _AGENT.search(match["case"]) is not None


def _is_hidden_by_contrast(path: str, releases: Sequence[Release], modalities: Sequence[str]) -> bool:
    matches = [m for r in releases for modality in modalities if (m := r.source(modality).match(path))]
    return bool(matches) and all(map(hides_contrast, matches))


def _is_volume(path: str, release: Release, modalities: Sequence[str]) -> bool:
    return any(source.match(path) for source in (release.label, *map(release.source, modalities)))


def _empty_folders(listing: Listing) -> list[str]:
    """The topmost folders without any file below them."""
    full = {parent.as_posix() for path in listing.files for parent in PurePosixPath(path).parents}
    empty = {path for path in listing.folders if path not in full and _holds_no_file(listing.parent / path)}
    return [path for path in listing.folders if path in empty and PurePosixPath(path).parent.as_posix() not in empty]


def _holds_no_file(path: Path) -> bool:
    """Whether a folder contains no file at all; linked and hidden files count."""
    return not any(set(names) - _OF_NO_CASE for _, _, names in os.walk(path))


def _problem(folder: Path, paths: Sequence[str], text: str, remedy: str) -> Problem:
    return Problem(folder.name, some([PurePosixPath(path).name for path in paths]), text, remedy, is_warning=True)


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
