"""Steps of the demonstrations: the commands of the README, each printed before it runs."""

import pathlib
import shlex
import subprocess
import sys
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError

# Data sets and work directory in a demonstration's folder.
REAL, SYNTHETIC, MODELS = "real", "synthetic", "models"


class Steps:
    """Runs commands with one preset. Finished steps are not repeated.

    Args:
      preset: settings of all steps.
    """

    def __init__(self, preset: str):
        self._preset = preset

    def phantom(self, output: pathlib.Path, num_cases: int) -> None:
        """Builds prepared data of simulated patients."""
        if not output.exists():
            self._build(source="phantom", num_cases=num_cases, output=output)

    def synthetic(self, output: pathlib.Path, workdir: pathlib.Path, labels_from: pathlib.Path, **settings) -> None:
        """Builds a synthetic data set."""
        if not output.exists():
            self._build(source="synthetic", output=output, workdir=workdir, labels_from=labels_from, **settings)

    def train(self, stage: str, workdir: pathlib.Path, *data: pathlib.Path, **settings: Any) -> None:
        """Trains a stage on prepared data sets, or resumes its training."""
        data_dir = ",".join(map(str, data))
        run("train.py", preset=self._preset, stage=stage, data_dir=data_dir, workdir=workdir, **settings)

    def real_and_models(self, folder: pathlib.Path, num_cases: int) -> tuple[pathlib.Path, pathlib.Path]:
        """The common first steps: prepared data of simulated patients, and all stages trained on it."""
        real, models = folder / REAL, folder / MODELS
        self.phantom(real, num_cases)
        for stage in constants.STAGES:
            self.train(stage, models, real)
        return real, models

    def _build(self, **arguments: Any) -> None:
        run("datasets/build.py", preset=self._preset, **arguments)


def run(*program: str, **arguments: Any) -> None:
    """Runs a command-line program: one of the scripts in the current directory, or `-m` and a module.

    Raises:
      UserError: the program failed.
    """
    command = [sys.executable, *program, *(f"--{name}={value}" for name, value in arguments.items())]
    print(f"$ python {shlex.join(command[1:])}", flush=True)
    result = subprocess.run(command, check=False)
    if result.returncode:
        raise UserError(
            f"{program[-1]} failed; see above. Finished steps are kept: correct the cause and run the same command "
            "again."
        )
