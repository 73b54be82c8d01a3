"""Tiny made-up data and settings, with which the real programs take seconds."""

import os
import subprocess
import sys
from pathlib import Path

from tools.proofs import made_up_cases

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("structure", "segmentation", "joint", "synthesis")

_DATA = {
    "slices": "1,5,1",
    "crop_rows": "0,20",
    "crop_columns": "0,16",
    "image_size": "16,16",
    "test_fraction": 0.2,
    "validation_fraction": 0,
}
_NETWORKS = {
    "structure.latent_dim": 4,
    "structure.base_filters": 4,
    "structure.max_filters": 8,
    "structure.discriminator_filters": 4,
    "segmentation.base_filters": 2,
    "segmentation.levels": 2,
    "synthesis.base_filters": 2,
    "synthesis.discriminator_filters": 2,
    "synthesis.full_every": 1,
    "synthesis.pretraining_steps": 1,
    "generation.batch_size": 8,
    "generation.mask_error": 1.0,
    "generation.map_quantile": 0.0,
    "generation.dice_threshold": 0.0,
    **{f"{stage}.batch_size": 2 for stage in STAGES},
}


def config_flags(**changes: object) -> list[str]:
    """Flags for the tiny settings; `changes` have `__` in place of the dots of their paths."""
    data = {f"data.{name}": value for name, value in _DATA.items()}
    return [f"--config.{name}={value}" for name, value in data.items()] + network_flags(**changes)


def network_flags(**changes: object) -> list[str]:
    """Flags for tiny networks and for samples without filters, whatever the data."""
    values = _NETWORKS | {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--config.{name}={value}" for name, value in values.items()]


def lengths(steps: int, interval: int) -> dict[str, int]:
    """Settings for `steps` training steps of each stage."""
    return {**{f"{stage}__steps": steps for stage in STAGES}, "runtime__steps_per_checkpoint": interval}


def write_cases(folder: Path, count: int) -> None:
    """Writes cases as NIfTI."""
    for number in range(count):
        made_up_cases.write_nifti_case(folder, f"case_{number}_1", made_up_cases.volumes())


def start(command: list[str], log: Path, **variables: str) -> subprocess.Popen:
    """Starts one of the programs, with further environment variables; what it prints is added to a file."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **variables}
    with open(log, "a", encoding="utf-8") as file:
        return subprocess.Popen(
            [sys.executable, *command], cwd=REPOSITORY, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
