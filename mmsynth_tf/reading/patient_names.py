"""Infers the patient of a case from the case's name.

One table serves all releases, because file endings and label values do not
affect the patient. All scans of a patient must be in the same part of the
split.
"""

import collections
import re
from collections.abc import Iterable, Mapping

# Regular expressions for whole names; the first match gives the patient. Case is ignored.
_NAMES = (
    # BraTS 2017 to 2019, Brats18_TCIA02_370_1: the last number is the time point; other text may follow.
    r"(?P<patient>brats1[789]_.+)_\d+",
    r"(?P<patient>brats1[789]_[^_]+_[^_]+)_\d+\D.*",
    # BraTS 2020 and 2021, Decathlon: the last number is the patient's.
    r"(?P<patient>brats20_[a-z]+_\d+)(?:\D.*)?",
    r"(?P<patient>brats2021_\d+)(?:\D.*)?",
    r"(?P<patient>brats_\d+)",
    # BraTS 2012 to 2015: brats_tcia_pat105_0004.
    r"(?P<patient>.+_pat\d+)(?:_.*)?",
    # BraTS from 2023 on, BraTS-GLI-00005-100 and BraTS-MEN-RT-0002-1, and others that follow its pattern.
    r"(?P<patient>brats-[a-z-]+-\d+)(?:\D.*)?",
    r"(?P<patient>.+-\d{5})-\d{3}",
    # UCSF-PDGM-0391_FU016d is a follow-up, UPENN-GBM-00002_21 a second scan.
    r"(?P<patient>ucsf-pdgm-\d+)(?:\D.*)?",
    r"(?P<patient>upenn-gbm-\d+)(?:\D.*)?",
)
_KNOWN = [re.compile(name, re.IGNORECASE) for name in _NAMES]

_WORDS = (
    r"fu|follow-?up|tp|time-?point|ses|session|visit|v|week|wk|month|m|day|d|scan|exam|t|pre|post|preop|postop|baseline"
)
# Suffixes that may distinguish scans of one patient: a date, a number, or a word with or without a number.
_MARKS = [
    re.compile(rf"(?P<stem>.+?)[-_. ](?:{mark})", re.IGNORECASE)
    for mark in (
        r"\d{4}-?\d\d-?\d\d",
        rf"(?P<word>{_WORDS})(?:[-_. ]?\d+[a-z]?(?:[-_.]\d+)*)?",
        r"\d+[a-z]?",
    )
]


def patient_ids(case_ids: Iterable[str]) -> dict[str, str]:
    """Maps case names to patients; a name that matches no pattern is a separate patient."""
    spellings: dict[str, str] = {}
    patients = {}
    for case_id in case_ids:
        patient = _known_patient(case_id)
        # Names that differ only in upper and lower case belong to one patient.
        patients[case_id] = case_id if patient is None else spellings.setdefault(patient.casefold(), patient)
    return patients


def look_alikes(case_ids: Iterable[str]) -> list[list[str]]:
    """Groups of names, outside the table, that differ only by a final number, a date or a mark such as `_FU2`.

    A number after a stem that all names share (case_001, case_002, …) identifies the patient, unless the stem itself
    contains a number.
    """
    stems = {name: _stem(name) for name in case_ids if _known_patient(name) is None}
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for name, (stem, _) in stems.items():
        groups[stem.casefold()].append(name)
    for name, (stem, _) in stems.items():  # `anna` beside `anna_2`.
        if name != stem and name.casefold() in groups:
            groups[name.casefold()].append(name)
    return [
        names
        for stem, names in groups.items()
        if len(names) > 1 and (len(groups) > 1 or re.search(r"\d", stem) or _is_marked(names, stems))
    ]


def _known_patient(case_id: str) -> str | None:
    matches = (known.fullmatch(case_id) for known in _KNOWN)
    return next((match["patient"] for match in matches if match), None)


def _stem(name: str) -> tuple[str, bool]:
    """The name without its last mark, and whether that mark is more than a number."""
    for mark in _MARKS:
        if match := mark.fullmatch(name):
            return match["stem"], bool(match.groupdict().get("word"))
    return name, False


def _is_marked(names: Iterable[str], stems: Mapping[str, tuple[str, bool]]) -> bool:
    """Whether a name ends in a word for a scan, or is the stem of other names."""
    return any(marked or stem == name for name, (stem, marked) in ((name, stems[name]) for name in names))
