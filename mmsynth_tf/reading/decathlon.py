"""Checks a copy of the brain tumours of the Medical Segmentation Decathlon (Task01) before its cases are used.

Its `dataset.json` gives the channels FLAIR, T1w, t1gd and T2w, and the labels 1 edema, 2 non-enhancing tumor and
3 enhancing tumour; https://github.com/Project-MONAI/tutorials/issues/1355 quotes it against a program that took 2 and
3 for each other. There are 484 labelled cases, BRATS_001 to BRATS_484, and further ones without labels in imagesTs.

They are the cases of BraTS 2016 and 2017 under other names, so that nobody can tell which is which
(https://github.com/openmedlab/Awesome-Medical-Dataset, resources/MSD_Brain.md; no single BraTS release has them all:
https://github.com/MIC-DKFZ/nnUNet/issues/708). Until 2016 BraTS had several scans of some patients. Whether two of the
cases are of one patient is therefore unknown, and each counts as a patient unless `patients.csv` says otherwise.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.layouts import some
from mmsynth_tf.reading.release_table import RELEASES

RELEASE = RELEASES["decathlon"]
DESCRIPTION = "dataset.json"
# What dataset.json calls modalities and classes of the release.
_MODALITIES = {"flair": "flair", "t1w": "t1", "t1gd": "t1c", "t2w": "t2"}
_CLASSES = {
    "background": "background",
    "edema": "oedema",
    "non-enhancing tumor": "non-enhancing tumour",
    "enhancing tumour": "enhancing tumour",
}
_LICENCE = "ccbysa40"
_AGAIN = "Download Task01_BrainTumour.tar from http://medicaldecathlon.com and unpack it again"


def require_whole(folder: Path) -> int:
    """Refuses a folder that is not Task01 as it was published, or lacks files.

    Returns:
      The number of its labelled cases.

    Raises:
      UserError: dataset.json cannot be read, names other channels, labels or another licence, or a case lacks a file.
    """
    description = _read(folder)
    _require_meanings(folder, description)
    licence = str(description.get("licence", ""))
    if "".join(filter(str.isalnum, licence)).lower() != _LICENCE:
        raise UserError(
            f"{folder / DESCRIPTION} names the licence {licence!r} instead of CC-BY-SA 4.0, under which the models "
            f"would be shared. Give the Decathlon's own folder. {_AGAIN}."
        )
    cases = [Path(str(case["image"])).name for case in description["training"]]
    missing = [name for name in _missing(folder, cases)]
    if missing or not cases:
        raise UserError(
            f"{folder} lacks {len(missing)} of the files of {len(cases)} labelled cases: {some(missing)}. {_AGAIN}."
        )
    return len(cases)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        dict(description["modality"]), dict(description["labels"])
        [case["image"] for case in description["training"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not describe the Decathlon's brain tumours ({type(error).__name__}: {error}). Give the "
            f"folder Task01_BrainTumour, which holds it, imagesTr and labelsTr. {_AGAIN}."
        ) from error
    return description


def _require_meanings(folder: Path, description: dict[str, Any]) -> None:
    """Refuses channels or labels that the release would misread."""
    channels = {m: str(RELEASE.source(m).channel) for m in constants.BRATS_MODALITIES}
    values = {constants.BRATS_LABELS[label]: str(value) for value, label in RELEASE.label_values.items()}
    for what, named, expected, names in (
        ("modality", description["modality"], channels, _MODALITIES),
        ("labels", description["labels"], values, _CLASSES),
    ):
        found = {names.get(str(name).lower(), name): str(number) for number, name in named.items()}
        if found != expected:
            raise UserError(
                f"{folder / DESCRIPTION} names {what} {found}, but Task01 has {expected}. Give the Decathlon's own "
                f"folder. {_AGAIN}."
            )


def _missing(folder: Path, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        for part in ("imagesTr", "labelsTr"):
            # Some programs unpack the images.
            if not any((folder / part / name.removesuffix(end)).is_file() for end in ("", ".gz")):
                yield f"{part}/{name}"
