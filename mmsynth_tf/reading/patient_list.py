"""Reads `patients.csv`: the patient of each case, for data whose case names do not identify the patient."""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.file_search import Listing, as_given

PATIENT_LIST = "patients.csv"
_COLUMNS = ("case", "patient")


def read_patient_list(folder: Path) -> dict[str, str] | None:
    """Reads `patients.csv` (columns case and patient; others are ignored) in a folder.

    Returns:
      Mapping from case id to patient id; None if the file does not exist.

    Raises:
      UserError: the file has another format, or lists a case with no patient or with two.
    """
    path = folder / PATIENT_LIST
    if not path.is_file():
        return None
    patients: dict[str, str] = {}
    for number, (case, patient) in enumerate(_rows(path), start=2):
        if not case or not patient:
            raise UserError(f"{path}, row {number}: the case or the patient is empty. Fill it in or delete the row.")
        if patients.setdefault(case, patient) != patient:
            raise UserError(
                f"{path}, row {number}: case {case} is of patient {patients[case]} and of {patient}. Delete one row."
            )
    return patients


def misplaced_lists(folder: Path, listing: Listing) -> Iterator[tuple[Path, str]]:
    """Finds files that look like the folder's patient list but are not read, each with a remedy.

    Args:
      folder: the folder that should hold the list.
      listing: content of the folder.
    """
    below = [listing.parent / name for name in listing.files]
    try:
        above = sorted(path for path in as_given(folder).parent.iterdir() if path.is_file())
    except OSError:  # The parent folder may be unreadable.
        above = []
    for path in (*above, *below):
        if path.name.casefold() == PATIENT_LIST:
            yield path, f"Copy it to {folder / PATIENT_LIST}, or rename it if it is another list"


def _rows(path: Path) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # Spreadsheets write a byte order mark.
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise UserError(
                    f"{path} lacks the columns {' and '.join(_COLUMNS)}. Begin it with the line {','.join(_COLUMNS)}."
                )
            return [tuple((row[column] or "").strip() for column in _COLUMNS) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}). Save it as CSV in UTF-8.") from error


def require_listed(folder: Path, patients: dict[str, str], case_ids: Collection[str]) -> None:
    """Refuses a list that lacks cases: their guessed patients might be in both training and test.

    Raises:
      UserError: cases are missing; the message names some of them.
    """
    missing = sorted(set(case_ids) - set(patients))
    if missing:
        raise UserError(
            f"{folder / PATIENT_LIST} lacks {len(missing)} of {len(case_ids)} cases ({', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''}). Add a row for each, or remove the file."
        )
