"""Writes made-up patients as a data set: folders named like BraTS 2018's, or nnU-Net's raw layout."""

import json
from collections.abc import Sequence
from pathlib import Path

import tqdm

from mmsynth_tf import constants, records
from mmsynth_tf.patients import batch, files
from mmsynth_tf.patients.files import FileGrid
from mmsynth_tf.patients.sample import Sample, Sampler
from mmsynth_tf.reading.release_table import RELEASES
from mmsynth_tf.reports import figures

MANIFEST_FILE = "manifest.json"
BRATS, NNUNET = "brats", "nnunet"
_RELEASE = "brats2017-2021"


def write(
    sampler: Sampler, count: int, output: Path, *, layout: str = BRATS, largest: int = 1, overwrite: bool = False
) -> None:
    """Makes and writes cases.

    Args:
      sampler: makes them.
      count: number of cases.
      output: folder to make.
      layout: `BRATS` or `NNUNET`.
      largest: value of the brightest voxel; 1 writes float32, more int16.
      overwrite: replace `output` if it holds made-up patients.

    Raises:
      UserError: `output` exists, or cannot be written; or no lesion fits into a head.
    """
    write_case = {BRATS: _write_brats, NNUNET: _write_nnunet}[layout]
    data, made = sampler.models.data, []
    with records.new_folder(output, MANIFEST_FILE, overwrite) as folder:
        for index in tqdm.trange(count, unit="case", disable=None):
            case_id, sample = f"synthetic_{index:05d}", sampler(index)
            write_case(folder, case_id, sample, sampler.grid, data.labels, largest)
            preview = figures.quadruples(modalities=data.modalities, label_names=data.labels, **sample.preview)
            (folder / "previews").mkdir(exist_ok=True)
            (folder / "previews" / f"{case_id}.png").write_bytes(preview)
            made.append({"case": case_id, **sample.record})
        if layout == NNUNET:
            _write_nnunet_description(folder, data.modalities, data.labels, count)
        manifest = {
            "job": "sample",
            "layout": layout,
            "seed": sampler.seed,
            "correlation": sampler.correlation,
            "smooth": sampler.smooth,
            "blur": sampler.blur,
            "range": [0, largest],
            "models": sampler.models.hashes,
            "cases": made,
        }
        batch.write_record(folder / MANIFEST_FILE, manifest)


def _write_brats(
    folder: Path, case_id: str, sample: Sample, grid: FileGrid, labels: Sequence[str], largest: int
) -> None:
    """`<case>/<case>_t1.nii.gz` and so on, with BraTS 2018's label values where the classes are those of BraTS."""
    known = tuple(labels) == constants.BRATS_LABELS
    codes = files.label_codes(_RELEASE if known else files.CANONICAL, labels)
    release = RELEASES[_RELEASE]
    (folder / case_id).mkdir()
    for modality, volume in sample.images.items():
        name = release.source(modality).example.format(case=case_id)
        files.save_image(volume, grid, folder / case_id / name, largest)
    files.save_label(sample.label, grid, folder / case_id / release.label.example.format(case=case_id), codes)


def _write_nnunet(
    folder: Path, case_id: str, sample: Sample, grid: FileGrid, labels: Sequence[str], largest: int
) -> None:
    """`imagesTr/<case>_<channel>.nii.gz` and `labelsTr/<case>.nii.gz` with classes as they are: consecutive."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(exist_ok=True)
    for channel, volume in enumerate(sample.images.values()):
        files.save_image(volume, grid, folder / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz", largest)
    files.save_label(sample.label, grid, folder / "labelsTr" / f"{case_id}.nii.gz")


def _write_nnunet_description(folder: Path, modalities: Sequence[str], labels: Sequence[str], count: int) -> None:
    description = {
        "channel_names": {str(channel): name for channel, name in enumerate(modalities)},
        "labels": {name: index for index, name in enumerate(labels)},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    records.write_text(folder / "dataset.json", json.dumps(description, indent=1) + "\n")
