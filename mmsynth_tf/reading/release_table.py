"""Table of the supported releases: file names of a case, and meaning of label values.

A release is one row of the table. It gives the file of each modality and of the
label, and maps label values to the canonical scheme (method §0). The patient of
a case does not depend on the release; see `patient_names`. Other data (another
organ, other modalities) is read by the `custom` release:
`<case>_<modality>.nii[.gz]` and `<case>_seg.nii[.gz]`, with classes as label
values. File names are compared without regard to case.

Some challenges use the same file names with different label values, so a row
may claim case names (`names`). `beyond` lists values without a canonical class;
labels that contain them are refused.

The values since 2023 follow the organisers' evaluations: metrics.py of
https://github.com/rachitsaluja/BraTS-2023-Metrics (43c9052) for all tasks of 2023,
and the configurations of https://github.com/BraTS/BraTS_evaluation (791134c) for
BraTS-PEDs and -MET of later years.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmsynth_tf import constants


@dataclasses.dataclass(frozen=True)
class Source:
    """Location of one volume of a case."""

    pattern: str  # Regular expression for the path below the input folder; group `case` is the case's name.
    channel: int | None = None  # Index on the fourth axis of a file that stacks modalities.
    example: str = ""  # File name for messages; {case} stands for the case's name.

    def match(self, path: str) -> re.Match | None:
        return re.fullmatch(self.pattern, path, re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Release:
    """File names and label values of one release."""

    name: str
    sources: Mapping[str, Source]  # By modality; other modalities are read from <case>_<modality>.nii.gz.
    label: Source
    label_values: Mapping[int, int] | None  # From value in the file to canonical class; None: values are classes.
    layout: str = "suffix"  # A release can be forced on file names of any release of the same layout.
    names: str | None = None  # Regular expression for case names that belong to this release with any file endings.
    # Values without a canonical class, and their meanings.
    beyond: Mapping[int, str] = dataclasses.field(default_factory=dict)
    doubt: tuple[str, str] | None = None  # A warning for all its cases, logged once, and the remedy.

    def source(self, modality: str) -> Source:
        return self.sources.get(modality) or _nifti(f"_{modality}")

    def meanings(self, labels: Sequence[str]) -> dict[int, str]:
        """The meaning of each label value; `labels` are the configured classes, which are the values of `custom`."""
        if self.label_values is None:
            return dict(enumerate(labels))
        known = {value: constants.BRATS_LABELS[label] for value, label in self.label_values.items()}
        return dict(sorted({**known, **self.beyond}.items()))


def _nifti(suffix: str, case: str = "[^/]+") -> Source:
    pattern = rf"(?:.*/)?(?P<case>{case}){re.escape(suffix)}\.nii(?:\.gz)?"
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


# File names and label values of the challenges since 2023, unless their row differs.
_SOURCES_2023 = {"t1": _nifti("-t1n"), "t2": _nifti("-t2w"), "t1c": _nifti("-t1c"), "flair": _nifti("-t2f")}
_VALUES_2023 = {0: 0, 1: 1, 2: 2, 3: 4}


def _since_2023(name: str, names: str, label_values: Mapping[int, int] = _VALUES_2023, **other: Any) -> Release:
    return Release(name, _SOURCES_2023, _nifti("-seg"), label_values, names=rf"{names}(?:\D.*)?", **other)


RELEASES = {
    release.name: release
    for release in (
        Release(
            name="brats2017-2021",
            sources={"t1": _nifti("_t1"), "t2": _nifti("_t2"), "t1c": _nifti("_t1ce"), "flair": _nifti("_flair")},
            label=_nifti("_seg"),
            label_values={0: 0, 1: 1, 2: 2, 4: 4},
        ),
        _since_2023("brats2023", r"brats-gli-\d+-0\d\d"),
        # Glioma after treatment, with several scans per patient: time points from 100.
        _since_2023("brats2024-glioma", r"brats-gli-\d+-[1-9]\d\d", beyond={4: "resection cavity"}),
        _since_2023(
            "brats-peds",
            r"brats-peds?-\d+-\d+",
            {0: 0, 1: 4, 2: 3, 4: 2},
            beyond={3: "cyst"},
            doubt=(
                "BraTS-PEDs is read with the label values since 2024 (1 enhancing tumour, 2 non-enhancing tumour, "
                "3 cyst, 4 oedema)",
                "Use --release=brats2023 for that of 2023 (1 non-enhancing parts, read as necrotic core, "
                "2 oedema, 3 enhancing tumour)",
            ),
        ),
        # Metastases have cavities since 2025, when post-treatment scans were added.
        _since_2023("brats-met", r"brats-mets?-\d+-\d+", beyond={4: "resection cavity"}),
        _since_2023("brats-men", r"brats-men-\d+-\d+"),
        _since_2023("brats-ssa", r"brats-ssa-\d+-\d+"),
        Release(
            name="brats-men-rt",
            sources={"t1c": _nifti("_t1c", r"brats-men-rt-[^/]+")},
            label=_nifti("_gtv", r"brats-men-rt-[^/]+"),
            label_values={0: 0},
            names=r"brats-men-rt-.+",
            beyond={1: "gross tumour volume"},
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


def with_lesion_values() -> list[str]:
    """Names of the releases whose label values stand for the canonical lesion classes."""
    return [release.name for release in RELEASES.values() if release.label_values and any(release.label_values)]


def release_named(case_id: str) -> Release | None:
    """The release that claims a case's name."""
    claims = (r for r in RELEASES.values() if r.names and re.fullmatch(r.names, case_id, re.IGNORECASE))
    return next(claims, None)
