"""Finds the files of each case in a folder, for every release in `mmsynth_tf.reading.release_table`."""

import collections
import dataclasses
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import file_search, layouts, nnunet_layout, patient_list, patient_names
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.release_table import RELEASES, Release, release_named

_log = logging.getLogger(__name__)

LABEL = "label"
_MOST_LOGGED = 10


@dataclasses.dataclass(frozen=True)
class Volume:
    """One volume of a case: a file, and the channel if the file holds several volumes."""

    path: Path
    channel: int | None = None


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files found for one case. `images` lacks the modalities that have no file."""

    case_id: str
    patient_id: str
    release: Release
    images: Mapping[str, Volume]
    label: Volume | None
    extra: tuple[tuple[str, Path], ...] = ()  # Further files for a modality or the label; they make the case ambiguous.


@dataclasses.dataclass(frozen=True)
class Found:
    """The cases in a folder, sorted by name, and warnings about the folder."""

    cases: list[CaseFiles]
    problems: list[Problem]


def find_cases(folder: str | os.PathLike, modalities: Sequence[str], release: str | None = None) -> list[CaseFiles]:
    """The cases that `search_cases` finds; its warnings are logged."""
    found = search_cases(folder, modalities, release)
    for problem in found.problems[:_MOST_LOGGED]:
        _log.warning("%s", problem)
    if len(found.problems) > _MOST_LOGGED:
        _log.warning("And %d more warnings of this kind.", len(found.problems) - _MOST_LOGGED)
    return found.cases


def search_cases(folder: str | os.PathLike, modalities: Sequence[str], release: str | None = None) -> Found:
    """Finds the cases below a folder, at any depth, and the release of each. Their files are not read.

    A case belongs to the release whose file names match most of its modalities,
    with at least one listed in the release's row; earlier rows win ties. A
    release that claims the case's name takes precedence. The patient follows
    from the case's name (`patient_names`) or from `patients.csv` in the folder,
    for every release.

    Args:
      folder: folder to search; hidden files are ignored.
      modalities: names of the modalities to look for.
      release: name of the release to force; its label values are then used, with the file
        names of any release of the same layout. (Copies of BraTS 2021 with the label values of 2023 are common.)

    Raises:
      UserError: the folder does not exist or has no case, the release is unknown, or a folder or the list of patients
        cannot be read.
    """
    folder = Path(folder)
    if release is not None and release not in RELEASES:
        raise UserError(f"Unknown release {release!r}. Known releases: {', '.join(RELEASES)}.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give the folder that holds the cases.")
    forced = RELEASES[release] if release else None
    candidates = [r for r in RELEASES.values() if forced is None or r.layout == forced.layout]
    listing = file_search.list_files(folder)
    nnunet_layout.refuse(folder, listing)
    listing, set_aside = layouts.set_aside(folder, listing, candidates, modalities)
    best: dict[str, CaseFiles] = {}
    for candidate in candidates:
        for case in _match(listing, modalities, candidate):
            if case.case_id not in best or len(case.images) > len(best[case.case_id].images):
                best[case.case_id] = case
    if not best:
        examples = "; ".join(f"{r.name}: {r.source(modalities[0]).example.format(case='<case>')}" for r in candidates)
        found = "".join(f" {problem}" for problem in set_aside)
        raise UserError(f"No case found in {folder}. Expected files such as {examples}.{found}")
    cases = [best[case_id] for case_id in sorted(best)]
    unused = _unused_files(listing, cases, candidates)
    cases = [dataclasses.replace(case, release=forced or _of_name(case)) for case in cases]
    patients, doubts = _patients(folder, listing, [case.case_id for case in cases])
    cases = [dataclasses.replace(case, patient_id=patients[case.case_id]) for case in cases]
    # Only the first warnings are logged; patients in both training and test are the most serious problem.
    return Found(cases, [*doubts, *_copies(cases), *_numbering_doubts(folder, cases), *set_aside, *unused])


def _match(listing: file_search.Listing, modalities: Sequence[str], release: Release) -> Iterator[CaseFiles]:
    volumes: dict[str, dict[str, Volume]] = {}
    extra: dict[str, list[tuple[str, Path]]] = collections.defaultdict(list)
    sources = {LABEL: release.label} | {modality: release.source(modality) for modality in modalities}
    for role, source in sources.items():
        for path in listing.files:
            match = source.match(path)
            if not match or layouts.hides_contrast(match):
                continue
            case_id, volume = match["case"], Volume(listing.parent / path, source.channel)
            first = volumes.setdefault(case_id, {}).setdefault(role, volume)
            if first is not volume and first.path.resolve() != volume.path.resolve():
                extra[case_id].append((role, volume.path))
    for case_id, found in volumes.items():
        images = {modality: found[modality] for modality in modalities if modality in found}
        if any(modality in release.sources for modality in images) or (images and not release.sources):
            yield CaseFiles(case_id, case_id, release, images, found.get(LABEL), tuple(extra[case_id]))


def _patients(
    folder: Path, listing: file_search.Listing, case_ids: Sequence[str]
) -> tuple[Mapping[str, str], list[Problem]]:
    """Maps case ids to patient ids, from the folder's list or the names; also returns warnings."""
    listed = patient_list.read_patient_list(folder)
    if listed is not None:
        patient_list.require_listed(folder, listed, case_ids)
        return listed, []
    problems = [
        Problem(folder.name, str(path), "this list of patients is not used", remedy, is_warning=True)
        for path, remedy in patient_list.misplaced_lists(folder, listing)
    ]
    if groups := patient_names.look_alikes(case_ids):
        text = "their names differ only by a last number or mark, and each counts as a patient"
        remedy = f"Give scans of one patient the same patient in {folder / patient_list.PATIENT_LIST}"
        names = layouts.some([" and ".join(names[:2]) for names in groups])
        problems.append(Problem(folder.name, names, text, remedy, is_warning=True))
    return patient_names.patient_ids(case_ids), problems


def _of_name(case: CaseFiles) -> Release:
    """The release that claims the case's name, if the file names suit its layout; else the file names' release."""
    claiming = release_named(case.case_id)
    return claiming if claiming and claiming.layout == case.release.layout else case.release


def _numbering_doubts(folder: Path, cases: Sequence[CaseFiles]) -> Iterator[Problem]:
    """Warns of case names that suggest label values of another release, and repeats the releases' own warnings."""
    doubts: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for case in cases:
        if doubt := _numbering_doubt(case):
            doubts[doubt].append(case.case_id)
    for (text, remedy), names in doubts.items():
        yield Problem(folder.name, layouts.some(names), text, remedy, is_warning=True)


def _numbering_doubt(case: CaseFiles) -> tuple[str, str] | None:
    used, claiming = case.release, release_named(case.case_id)
    if claiming and claiming.label_values != used.label_values:
        text = f"this is a name of {claiming.name} ({_numbering(claiming)}), and labels are read as {used.name}"
        return (
            f"{text} ({_numbering(used)})",
            f"Check the labels; {claiming.name} is read with --release={claiming.name}",
        )
    if used.label_values is None and re.match("brats", case.case_id, re.IGNORECASE):
        return (
            f"this is a name of BraTS, and labels are read as {used.name} ({_numbering(used)})",
            "Check the labels; where enhancing tumour is 4, --release=brats2017-2021 is right, and --release=brats2023 "
            "where it is 3",
        )
    return used.doubt


def _numbering(release: Release) -> str:
    if release.label_values is None:
        return "values are the classes of data.labels"
    return ", ".join(f"{value} {meaning}" for value, meaning in release.meanings(()).items() if value)


def _unused_files(
    listing: file_search.Listing, cases: Sequence[CaseFiles], candidates: Sequence[Release]
) -> Iterator[Problem]:
    """Images that belong to no case, one problem for each folder."""
    used = {volume.path.resolve() for case in cases for volume in (*case.images.values(), case.label) if volume}
    used |= {path.resolve() for case in cases for _, path in case.extra}
    releases = list({case.release.name: case.release for case in cases}.values())
    # A modality that the release has, but the caller did not request, is no problem.
    known = [source for release in releases for source in release.sources.values()]
    unused: dict[tuple[str, bool], list[str]] = collections.defaultdict(list)
    for path in listing.files:
        place = PurePosixPath(path)
        is_used = (listing.parent / path).resolve() in used or any(source.match(path) for source in known)
        if layouts.is_image(place.name) and not is_used:
            is_label = any(release.label.match(path) for release in candidates)
            unused[place.parent.name, is_label].append(place.name)
    for (parent, is_label), names in unused.items():
        text = "this label has no image" if is_label else "no modality or label has this name"
        remedy = (
            f"Add or rename files that belong to a case ({_expected_names(releases[0])}); leave or remove the others"
        )
        yield Problem(parent, layouts.some(names), f"not used, because {text}", remedy, is_warning=True)


def _expected_names(release: Release) -> str:
    sources = [*(release.sources.values() or [release.source("<modality>")]), release.label]
    return ", ".join(dict.fromkeys(source.example.format(case="<case>") for source in sources))


def _copies(cases: Sequence[CaseFiles]) -> Iterator[Problem]:
    """Reports cases whose first image equals another patient's: they may fall in both training and test."""
    originals: dict[tuple, CaseFiles] = {}
    for case in cases:
        path = next(iter(case.images.values())).path
        key = file_search.content_key(path)
        if key is not None and originals.setdefault(key, case).patient_id != case.patient_id:
            text = f"it has the same content as an image of case {originals[key].case_id}"
            remedy = f"Remove one of the two, or give both the same patient in {patient_list.PATIENT_LIST}"
            yield Problem(case.case_id, path.name, text, remedy, is_warning=True)
