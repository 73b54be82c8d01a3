"""The releases that can be read: where the files of a case lie, and what their label values mean.

A release is a row of a table: where each modality and the label of a case lie,
and what the label values mean on the canonical scheme (method §0). The patient
of a case does not depend on it: see `patient_names`. Other data (another organ, other modalities)
is read by the `custom` release: `<case>_<modality>.nii[.gz]` and
`<case>_seg.nii[.gz]`, whose label values are the classes themselves. Capitals
in file names do not matter.
"""

import dataclasses
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one volume of a case lies."""

    pattern: str  # Regular expression for the path below the input folder; group `case` is the case's name.
    channel: int | None = None  # Index on the fourth axis of a file that stacks the modalities.
    example: str = ""  # File name for messages; {case} stands for the case's name.

    def match(self, path: str) -> re.Match | None:
        return re.fullmatch(self.pattern, path, re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Release:
    """File names and label values of one release."""

    name: str
    sources: Mapping[str, Source]  # By modality; others are looked for as <case>_<modality>.nii.gz.
    label: Source
    label_values: Mapping[int, int] | None  # Value in the file to canonical class; None: the classes themselves.
    layout: str = "suffix"  # Releases of one layout may be forced on each other's file names.

    def source(self, modality: str) -> Source:
        return self.sources.get(modality) or _nifti(f"_{modality}")


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
        ),
        Release(
            name="brats2023",
            sources={"t1": _nifti("-t1n"), "t2": _nifti("-t2w"), "t1c": _nifti("-t1c"), "flair": _nifti("-t2f")},
            label=_nifti("-seg"),
            label_values={0: 0, 1: 1, 2: 2, 3: 4},
        ),
        Release(
            name="brats2015",
            sources={"t1": _vsd("MR_T1"), "t2": _vsd("MR_T2"), "t1c": _vsd("MR_T1c"), "flair": _vsd("MR_Flair")},
            label=_vsd("OT"),
            label_values={0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
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
