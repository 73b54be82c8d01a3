"""Finds the files of each case in a folder, for every release that can be read.

A release is a row of a table: where each modality and the label of a case lie,
what the label values mean on the canonical scheme (method §0), and which part
of a case's name is the patient. Other data (another organ, other modalities)
is read by the `custom` release: `<case>_<modality>.nii[.gz]` and
`<case>_seg.nii[.gz]`, whose label values are the classes themselves.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmsynth_tf.commands import UserError

LABEL = "label"


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one volume of a case lies."""

    pattern: str  # Regular expression for the path below the input folder; group `case` is the case's name.
    channel: int | None = None  # Index on the fourth axis of a file that stacks the modalities.
    example: str = ""  # File name for messages; {case} stands for the case's name.


@dataclasses.dataclass(frozen=True)
class Release:
    """File names, label values and patient names of one release."""

    name: str
    sources: Mapping[str, Source]  # By modality; others are looked for as <case>_<modality>.nii.gz.
    label: Source
    label_values: Mapping[int, int] | None  # Value in the file to canonical class; None: the classes themselves.
    patient: str = r"(?P<patient>.+)"  # Regular expression for the patient in the case's name, without time point.
    layout: str = "suffix"  # Releases of one layout may be forced on each other's file names.

    def source(self, modality: str) -> Source:
        return self.sources.get(modality) or _nifti(f"_{modality}")

    def patient_id(self, case_id: str) -> str:
        match = re.fullmatch(self.patient, case_id, re.IGNORECASE)
        return match["patient"] if match else case_id


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


def _nifti(suffix: str) -> Source:
    pattern = rf"(?:.*/)?(?P<case>[^/]+){re.escape(suffix)}\.nii(?:\.gz)?"
    return Source(pattern, example=f"{{case}}{suffix}.nii.gz")


def _vsd(kind: str) -> Source:
    """Virtual Skeleton Database: <case>/VSD.Brain.XX.O.<kind>.<number>/VSD.Brain.XX.O.<kind>.<number>.mha."""
    name = rf"VSD\.[^/]*\.{re.escape(kind)}\.[^/]*"
    return Source(
        rf"(?:.*/)?(?P<case>(?!VSD\.)[^/]+)/(?:{name}/)?{name}\.mha", example=f"VSD.Brain.XX.O.{kind}.<number>.mha"
    )


def _decathlon(folder: str, channel: int | None = None) -> Source:
    pattern = rf"(?:.*/)?{folder}/(?P<case>[^/]+?)\.nii(?:\.gz)?"
    return Source(pattern, channel, f"{folder}/{{case}}.nii.gz")


RELEASES = {
    release.name: release
    for release in (
        Release(
            name="brats2017-2021",
            sources={"t1": _nifti("_t1"), "t2": _nifti("_t2"), "t1c": _nifti("_t1ce"), "flair": _nifti("_flair")},
            label=_nifti("_seg"),
            label_values={0: 0, 1: 1, 2: 2, 4: 4},
            # Names of 2017 to 2019 end in the time point; those of 2020 and 2021 end in the patient's number.
            patient=r"(?P<patient>brats1[789]_.+)_\d+",
        ),
        Release(
            name="brats2023",
            sources={"t1": _nifti("-t1n"), "t2": _nifti("-t2w"), "t1c": _nifti("-t1c"), "flair": _nifti("-t2f")},
            label=_nifti("-seg"),
            label_values={0: 0, 1: 1, 2: 2, 3: 4},
            patient=r"(?P<patient>.+-\d+)-\d+",
        ),
        Release(
            name="brats2015",
            sources={"t1": _vsd("MR_T1"), "t2": _vsd("MR_T2"), "t1c": _vsd("MR_T1c"), "flair": _vsd("MR_Flair")},
            label=_vsd("OT"),
            label_values={0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
            patient=r"(?P<patient>.+_pat\d+)_\d+",
            layout="vsd",
        ),
        Release(
            name="decathlon",
            sources={m: _decathlon("imagesTr", c) for c, m in enumerate(("flair", "t1", "t1c", "t2"))},
            label=_decathlon("labelsTr"),
            label_values={0: 0, 1: 2, 2: 3, 3: 4},
            layout="decathlon",
        ),
        Release(name="custom", sources={}, label=_nifti("_seg"), label_values=None),
    )
}


def find_cases(folder: str | os.PathLike, modalities: Sequence[str], release: str | None = None) -> list[CaseFiles]:
    """Finds the cases below a folder, at any depth, and the release of each.

    A case belongs to the release whose file names account for most of its
    modalities, at least one of them in its table; earlier rows win ties.

    Args:
      folder: folder to search; hidden files are ignored.
      modalities: names of the modalities to look for.
      release: name of the release to force; its label values and patient names are then used, with the file
        names of any release of the same layout. (Copies of BraTS 2021 with the label values of 2023 are common.)

    Returns:
      The cases in the order of their names. Their files are not opened.

    Raises:
      UserError: there is no such folder, or no case in it; unknown release; two files for one volume of a case.
    """
    folder = Path(folder)
    if release is not None and release not in RELEASES:
        raise UserError(f"Unknown release {release!r}. Known releases: {', '.join(RELEASES)}.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give the folder that holds the cases.")
    forced = RELEASES[release] if release else None
    candidates = [r for r in RELEASES.values() if forced is None or r.layout == forced.layout]
    paths = list(_visible_files(folder))
    best: dict[str, CaseFiles] = {}
    for candidate in candidates:
        for case in _match(folder, paths, modalities, candidate):
            if case.case_id not in best or len(case.images) > len(best[case.case_id].images):
                best[case.case_id] = case
    if not best:
        layouts = "; ".join(f"{r.name}: {r.source(modalities[0]).example.format(case='<case>')}" for r in candidates)
        raise UserError(f"No case found in {folder}. Expected files such as {layouts}.")
    cases = [best[case_id] for case_id in sorted(best)]
    return cases if forced is None else [_force(case, forced) for case in cases]


def _force(case: CaseFiles, release: Release) -> CaseFiles:
    return dataclasses.replace(case, release=release, patient_id=release.patient_id(case.case_id))


def _visible_files(folder: Path) -> Iterable[str]:
    """Paths below the folder in POSIX form, with the folder's own name in front (it may be the case's name)."""
    top = folder.resolve()
    for parent, folders, names in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(parent, name).relative_to(top.parent)).as_posix()


def _match(folder: Path, paths: Sequence[str], modalities: Sequence[str], release: Release) -> Iterable[CaseFiles]:
    volumes: dict[str, dict[str, Volume]] = {}
    sources = {LABEL: release.label} | {modality: release.source(modality) for modality in modalities}
    for role, source in sources.items():
        pattern = re.compile(source.pattern)
        for path in paths:
            match = pattern.fullmatch(path)
            if not match:
                continue
            case = volumes.setdefault(match["case"], {})
            volume = Volume(folder.resolve().parent / path, source.channel)
            if role in case:
                raise UserError(
                    f"Case {match['case']} has two files for {role}: {case[role].path} and {volume.path}. Remove one."
                )
            case[role] = volume
    for case_id, found in volumes.items():
        images = {modality: found[modality] for modality in modalities if modality in found}
        if any(modality in release.sources for modality in images) or (images and not release.sources):
            yield CaseFiles(case_id, release.patient_id(case_id), release, images, found.get(LABEL))
