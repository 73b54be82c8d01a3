"""Writes synthetic patients as a data set: folders named like BraTS 2018's, or nnU-Net's raw layout."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, jobs, nnunet
from mmsynth_tf.patients.files import FileGrid
from mmsynth_tf.patients.sample import Sample, Sampler
from mmsynth_tf.reading.release_table import RELEASES
from mmsynth_tf.reports import figures
from mmsynth_tf.storage import atomic, records

MANIFEST_FILE = "manifest.json"
BRATS, NNUNET = "brats", "nnunet"
_RELEASE = "brats2017-2021"
# Settings of the whole job in the folder of finished cases, and the manifest entry in each case's folder.
_SETTINGS_FILE, _PART_FILE = "settings.json", "part.json"


def write(
    sampler: Sampler, count: int, output: Path, *, layout: str = BRATS, largest: int = 1, overwrite: bool = False
) -> None:
    """Generates and writes cases. An interrupted job resumes: finished cases are kept in `<output>.parts`.

    Args:
      sampler: generates the cases.
      count: number of cases.
      output: folder to create.
      layout: `BRATS` or `NNUNET`.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.
      overwrite: replace `output` if it holds synthetic patients.

    Raises:
      UserError: `output` exists or cannot be written, no lesion fits into a head, or `<output>.parts` holds cases of
        other settings.
    """
    write_case = {BRATS: _write_brats, NNUNET: _write_nnunet}[layout]
    data = sampler.models.data
    settings = {
        "job": "sample",
        "layout": layout,
        "seed": sampler.seed,
        "correlation": sampler.correlation,
        "smooth": sampler.smooth,
        "blur": sampler.blur,
        "range": [0, largest],
        "models": sampler.models.hashes,
    }
    parts, made = output.with_name(f"{output.name}.parts"), []
    with atomic.new_folder(output, MANIFEST_FILE, overwrite) as folder:
        _claim(parts, settings | {"labels": [str(path) for path, _ in sampler.labels]})
        folders = [parts / f"synthetic_{index:05d}" for index in range(count)]
        missing = [index for index, part in enumerate(folders) if not part.exists()]
        for index in jobs.progress(missing, len(missing)):
            with atomic.new_folder(folders[index], _PART_FILE) as scratch:
                case_id, sample = folders[index].name, sampler(index)
                write_case(scratch, case_id, sample, sampler.grid, data.labels, largest)
                _write_preview(scratch, case_id, sample, data)
                records.write_json(scratch / _PART_FILE, [{"case": case_id, **sample.record}])
        for part in folders:
            shutil.copytree(part, folder, ignore=shutil.ignore_patterns(_PART_FILE), dirs_exist_ok=True)
            made += json.loads((part / _PART_FILE).read_text(encoding="utf-8"))
        if layout == NNUNET:
            nnunet.write_description(folder, data.modalities, data.labels, count)
        jobs.write_record(folder / MANIFEST_FILE, {**settings, "cases": made})
    shutil.rmtree(parts)


def _claim(parts: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings of a folder of finished cases, or compares them with those already written.

    Raises:
      UserError: the folder's settings differ.
    """
    path, text = parts / _SETTINGS_FILE, json.dumps(settings, indent=1)
    if not path.is_file():
        atomic.write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{parts} holds cases of an interrupted job with other settings or models. Repeat the command of that "
            "job, choose another --output, or delete this folder."
        )


def _write_preview(folder: Path, case_id: str, sample: Sample, data: DataConfig) -> None:
    (folder / "previews").mkdir()
    picture = figures.quadruples(modalities=data.modalities, label_names=data.labels, **sample.preview)
    (folder / "previews" / f"{case_id}.png").write_bytes(picture)


def _write_brats(
    folder: Path, case_id: str, sample: Sample, grid: FileGrid, labels: Sequence[str], largest: int
) -> None:
    """Writes `<case>/<case>_t1.nii.gz` and so on, with BraTS 2018's label values if the classes are BraTS's."""
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
    nnunet.write_case(folder, case_id, sample.images.values(), sample.label, grid, largest=largest)
