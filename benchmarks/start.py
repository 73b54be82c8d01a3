"""How long a user waits for the first training step: from the command to its row in the log."""

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import waiting
from mmsynth_tf import configs, constants
from mmsynth_tf.storage.records import Record

_TRAIN = Path(__file__).resolve().parents[1] / "train.py"
_PRESET = "demo"


def run() -> Iterator[Record]:
    """A record for each stage, trained for a step on made-up data in one work directory."""
    with tempfile.TemporaryDirectory() as folder:
        data = waiting.made_up_data(Path(folder) / "data", configs.preset(_PRESET).data)
        for stage in constants.STAGES:
            seconds = first_step(stage, data.path, Path(folder) / "models")
            yield {"stage": stage, "preset": _PRESET, "seconds_to_first_step": seconds}


def first_step(stage: str, data: Path, workdir: Path) -> float:
    """Runs train.py for a step; returns the seconds until that is in losses.csv.

    Raises:
      RuntimeError: the run ended without it.
    """
    command = [sys.executable, str(_TRAIN), f"--preset={_PRESET}", f"--stage={stage}", f"--data_dir={data}"]
    # Pretraining, where there is some, comes first and is shorter than the whole.
    steps = 2 if stage == constants.SYNTHESIS else 1
    command += [f"--workdir={workdir}", f"--config.{stage}.steps={steps}", "--config.runtime.steps_per_checkpoint=1"]
    command += ["--config.synthesis.pretraining_steps=1"] * (stage == constants.SYNTHESIS)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (found := _logged(workdir / stage / "losses.csv")) and process.poll() is None:
        time.sleep(0.05)
    seconds = time.monotonic() - began
    _, errors = process.communicate()
    if not found and not _logged(workdir / stage / "losses.csv"):
        raise RuntimeError(f"{' '.join(command)} failed: {errors[-500:]}")
    return seconds


def _logged(path: Path) -> bool:
    """Whether there is a row below the header."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as file:
        return len(list(csv.reader(file))) > 1
