"""Trains every stage in single and in mixed precision and compares where their losses end.

    python -m tools.studies.mixed_precision --data_dir=data/phantom --output=mixed_precision.csv

A row a stage, precision and loss term: its mean over the first and over the last interval of the log. A training that
meets a loss that is not finite stops, and so does this program.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import flags

from mmsynth_tf import constants, program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError

_DATA_DIR = path_flags.define_path("data_dir", None, "Prepared data to train on.", required=True)
_OUTPUT = path_flags.define_path("output", None, "CSV file to write.", required=True)
_PRESET = flags.DEFINE_string("preset", "demo", "Preset; the number of steps is that of --steps.")
# A CPU without float16 needs a minute for a step in it.
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision", ["float32", "mixed_bfloat16"], ["float32", "mixed_bfloat16", "mixed_float16"], "Precisions to compare."
)
_STEPS = flags.DEFINE_integer("steps", 200, "Training steps of each stage; half of synthesis is pretraining.")

_INTERVALS = 10
_TRAIN = Path(__file__).resolve().parents[2] / "train.py"


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    import tensorflow as tf

    from mmsynth_tf.storage import records

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for precision in _PRECISIONS.value:
            for stage in constants.STAGES:
                for row in train(stage, precision, Path(scratch) / precision):
                    rows.append({"tensorflow": tf.__version__, "steps": _STEPS.value, **row})
                records.write_csv(_OUTPUT.value, rows)


def train(stage: str, precision: str, workdir: Path) -> list[dict[str, str | float]]:
    """Trains a stage and reads its log.

    Raises:
      UserError: the training failed.
    """
    interval = _STEPS.value // _INTERVALS
    settings = {"runtime.precision": precision, "runtime.steps_per_checkpoint": interval}
    settings |= {"synthesis.pretraining_steps": _STEPS.value // 2}
    settings |= {f"{name}.steps": interval * _INTERVALS for name in constants.STAGES}
    command = [sys.executable, str(_TRAIN), f"--preset={_PRESET.value}", f"--stage={stage}", f"--workdir={workdir}"]
    command += [f"--data_dir={_DATA_DIR.value}", *(f"--config.{name}={value}" for name, value in settings.items())]
    print(" ".join(command), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"{stage} does not train in {precision}; its messages are above.")
    with (workdir / stage / "losses.csv").open(newline="", encoding="utf-8") as file:
        first, *_, last = csv.DictReader(file)
    common = {"stage": stage, "precision": precision}
    return [{**common, "term": term, "first": float(first[term]), "last": float(last[term])} for term in terms(last)]


def terms(row: dict[str, str]) -> list[str]:
    """The loss terms of a row of the log."""
    return [name for name in row if name not in ("step", "seconds") and not name.startswith("gradient of ")]


if __name__ == "__main__":
    program.run(main)
