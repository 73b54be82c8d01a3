"""The whole pipeline on made-up patients, ending with a report (``make demo``).

Phantom cases -> prepared data -> three stages -> synthetic data set ->
segmenters trained on real, synthetic and both -> scores on phantom test
patients -> one HTML page. Each step is one of the commands of the README, and
is printed before it runs. A step that is done is not done again.
"""

import os
import pathlib
import shlex
import subprocess
import sys

from absl import flags

from mmsynth_tf import commands, constants

_WORKDIR = flags.DEFINE_string("workdir", "demo_output", "Folder for everything that the demonstration makes.")
_PRESET = flags.DEFINE_string("preset", "demo", "Settings of all steps.")
_NUM_CASES = flags.DEFINE_integer("num_cases", 14, "Phantom patients.")
_COUNT = flags.DEFINE_integer("count", 250, "Synthetic slices.")

# What the segmenters are trained on: name to data sets.
MIXTURES = {"real": ("real",), "synthetic": ("synthetic",), "both": ("real", "synthetic")}


def main(argv: list[str]) -> None:
    commands.refuse_arguments(argv)
    folder = pathlib.Path(_WORKDIR.value)
    real, synthetic, models = folder / "real", folder / "synthetic", folder / "models"
    if not real.exists():
        _call("datasets/build.py", source="phantom", num_cases=_NUM_CASES.value, output=real)
    for stage in (constants.STRUCTURE, constants.SEGMENTATION, constants.SYNTHESIS):
        _call("train.py", stage=stage, data_dir=real, workdir=models)
    if not synthetic.exists():
        source = {"workdir": models, "labels_from": real, "count": _COUNT.value}
        _call("datasets/build.py", source="synthetic", output=synthetic, **source)
    for name, parts in MIXTURES.items():
        workdir = models if name == "real" else folder / f"trained_on_{name}"
        if name != "real":
            data = ",".join(str(folder / part) for part in parts)
            _call("train.py", stage=constants.SEGMENTATION, data_dir=data, workdir=workdir)
        _run("evaluate.py", experiment="segmentation", workdir=workdir, test_data=real)

    from mmsynth_tf import demo_report

    page = demo_report.write(folder, MIXTURES)
    print(f"Done. Open {page.resolve()}")


def _call(script: str, **arguments) -> None:
    _run(script, preset=_PRESET.value, **arguments)


def _run(script: str, **arguments) -> None:
    """Runs one of the command-line programs, which lie in the current directory."""
    command = [sys.executable, script, *(f"--{name}={value}" for name, value in arguments.items())]
    print(f"$ python {shlex.join(command[1:])}", flush=True)
    result = subprocess.run(command, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if result.returncode:
        raise commands.UserError(f"{script} failed; see above. What is done is kept: give the same command again.")


if __name__ == "__main__":
    commands.run(main)
