"""Writes nnU-Net's raw layout: one file per channel in imagesTr, labels in labelsTr, and dataset.json."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.study import data_name
from mmsynth_tf.patients import files, jobs
from mmsynth_tf.patients.files import FileGrid
from mmsynth_tf.prepared import PreparedData
from mmsynth_tf.reading.splits import TEST, TRAIN, VALIDATION, patient_folds
from mmsynth_tf.storage import atomic

DESCRIPTION_FILE, SPLITS_FILE = "dataset.json", "splits_final.json"
# nnU-Net cuts 2D slices across the axis of the largest spacing; 999 mm is its own mark of an image of one slice.
_SLICE_MM = 999.0
_NAME = re.compile(r"Dataset\d{3}_\w+")


def write_case(
    folder: Path,
    name: str,
    images: Iterable[np.ndarray],
    label: np.ndarray,
    grid: FileGrid,
    *,
    largest: int = 1,
    part: str = "Tr",
) -> None:
    """Writes `images<part>/<name>_<channel>.nii.gz` and `labels<part>/<name>.nii.gz`.

    Args:
      folder: the data set's folder.
      name: the case's name.
      images: float [x, y, z] in [0, 1], in the order of the channels.
      label: integer [x, y, z], consecutive classes.
      grid: their voxel grid.
      largest: as in `files.save_image`.
      part: `Tr` for training, `Ts` for test cases.
    """
    for kind in ("images", "labels"):
        (folder / f"{kind}{part}").mkdir(exist_ok=True)
    for channel, volume in enumerate(images):
        files.save_image(volume, grid, folder / f"images{part}" / f"{name}_{channel:04d}.nii.gz", largest)
    files.save_label(label, grid, folder / f"labels{part}" / f"{name}.nii.gz")


def write_description(folder: Path, modalities: Sequence[str], labels: Sequence[str], count: int) -> None:
    """Writes dataset.json for `count` training cases."""
    description = {
        "channel_names": {str(channel): name for channel, name in enumerate(modalities)},
        "labels": {name: index for index, name in enumerate(labels)},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    atomic.write_text(folder / DESCRIPTION_FILE, json.dumps(description, indent=1) + "\n")


def write_prepared(
    real: PreparedData, synthetic: Sequence[PreparedData], output: Path, *, overwrite: bool = False
) -> dict[str, int]:
    """Writes prepared sets as one data set for nnU-Net's 2D configuration, one case per slice.

    nnU-Net samples cases, not slices, so one-slice cases give real and synthetic slices equal weight.
    `splits_final.json` keeps the slices of a patient together. Its validation folds contain real patients only: the
    validation split if there is one, else five folds of the training patients. Test slices go to imagesTs and labelsTs.

    Args:
      real: set of real patients.
      synthetic: synthetic sets of the same geometry, for training.
      output: folder to create, with a name in nnU-Net's form: `Dataset123_Name`.
      overwrite: replace `output` if it holds such a data set.

    Returns:
      Number of real, synthetic, validation and test cases written; validation cases also count as real.

    Raises:
      UserError: the name has another form, a slice lacks its label or a modality, or synthetic sets are given without
        a validation split.
      LeakError: the models behind a synthetic set were trained on validation or test patients.
    """
    if not _NAME.fullmatch(output.name):
        raise UserError(
            f"nnU-Net names data sets like Dataset123_Tumour; {output.name} is not such a name. Rename --output."
        )
    held_out = [split for split in (VALIDATION, TEST) if real.cases.get(split)]
    if synthetic and VALIDATION not in held_out:
        raise UserError(
            f"{real.path} has no validation split, but synthetic sets need one: patients that no generator was trained "
            "on. Build it with --config.data.validation_fraction above 0, train all stages on it, and generate again."
        )
    for split in held_out:
        leaks.refuse_leak([data.record for data in synthetic], real, split)
    with atomic.new_folder(output, DESCRIPTION_FILE, overwrite) as folder:
        patients = {split: _write_split(folder, real, split, "Tr") for split in (TRAIN, *held_out) if split != TEST}
        made = [name for data in synthetic for name in _write_split(folder, data, TRAIN, "Tr")]
        tested = _write_split(folder, real, TEST, "Ts") if TEST in held_out else {}
        folds = _folds(patients, made)
        atomic.write_text(folder / SPLITS_FILE, json.dumps(folds, indent=1) + "\n")
        count = sum(map(len, patients.values()))
        write_description(folder, real.config.modalities, real.config.labels, count + len(made))
    validated = len(set().union(*(fold["val"] for fold in folds)))
    return {"real": count, "synthetic": len(made), "validation": validated, "test": len(tested)}


def _folds(patients: Mapping[str, Mapping[str, str]], made: Sequence[str]) -> list[dict[str, list[str]]]:
    """The content of splits_final.json, given each split's mapping from case to patient."""
    training = patients[TRAIN]
    if VALIDATION in patients:
        return [{"train": sorted([*training, *made]), "val": sorted(patients[VALIDATION])}]
    return [
        {
            "train": sorted(case for case, patient in training.items() if patient not in fold),
            "val": sorted(case for case, patient in training.items() if patient in fold),
        }
        for fold in patient_folds(training.values())
    ]


def _write_split(folder: Path, data: PreparedData, split: str, part: str) -> dict[str, str]:
    """Writes the slices of a split, and returns a mapping from case name to patient."""
    grid, patients = _slice_grid(data.config), {}
    for example in _whole_slices(data, split):
        name = slice_name(data, example)
        # Rows run to the back and columns to the left: [rows, columns, 1] -> [x, y, z] in LPS order.
        images = np.float32(example["image"]).transpose(0, 2, 1, 3)
        label = example["label"].transpose(1, 0, 2)
        write_case(folder, name, images, label, grid, part=part)
        patients[name] = example["patient_id"].decode()
    return patients


def slice_name(data: PreparedData, example: Mapping[str, Any]) -> str:
    """The case name that a slice of a prepared set gets."""
    return f"{data_name(data)}_{example['case_id'].decode()}_{example['slice_index']:03d}"


def _whole_slices(data: PreparedData, split: str) -> Iterator[dict[str, Any]]:
    slices = data.slices(split)
    _require_complete(data, slices)
    yield from jobs.progress(slices.as_numpy_iterator(), len(slices), "slice")


def _require_complete(data: PreparedData, slices: tf.data.Dataset) -> None:
    """Refuses cases without label or a modality; at the ends of the head, single slices may lack a modality."""
    available: dict[bytes, np.ndarray] = {}
    names = ("case_id", "available", "has_label")
    for example in slices.map(lambda x: {name: x[name] for name in names}).as_numpy_iterator():
        shown = np.append(example["available"], example["has_label"])
        available[example["case_id"]] = shown | available.get(example["case_id"], False)
    for case, shown in available.items():
        lacking = [name for name, there in zip([*data.config.modalities, "its label"], shown, strict=True) if not there]
        if lacking:
            raise UserError(
                f"Case {case.decode()} of {data.path} lacks {', '.join(lacking)}; nnU-Net needs every channel and "
                "label. Build the set without this case."
            )


def _slice_grid(data: DataConfig) -> FileGrid:
    _, row, column = data.spacing_mm
    return FileGrid((data.width, data.height, 1), np.diag([-column, -row, _SLICE_MM, 1.0]))
