"""The commands that `make experiments` gives, with scripts in their place that only note how they were called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsynth_tf import constants
from mmsynth_tf.demo import steps
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import catalogue

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = {"data": {"slices": [0, 10, 2]}, "split": {"train": ["a", "b"]}}
SCRIPT = f"""
import json, pathlib, sys
arguments = dict(text.removeprefix("--").split("=", 1) for text in sys.argv[1:])
with open("calls.txt", "a") as file:
    file.write(json.dumps([sys.argv[0], arguments]) + "\\n")
if "output" in arguments:
    output = pathlib.Path(arguments["output"])
    output.mkdir(parents=True)
    (output / "{constants.DATA_SET_RECORD}").write_text({json.dumps(json.dumps(DATA))})
if "stage" in arguments:
    pathlib.Path(arguments["workdir"], arguments["stage"]).mkdir(parents=True, exist_ok=True)
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """(script, arguments) of every command; the real data is there before."""
    folder = tmp_path_factory.mktemp("demonstration")
    (folder / "datasets").mkdir()
    for name in ("train.py", "evaluate.py", "datasets/build.py"):
        (folder / name).write_text(SCRIPT)
    (folder / "out" / "real").mkdir(parents=True)
    (folder / "out" / "real" / constants.DATA_SET_RECORD).write_text(json.dumps(DATA))
    command = [sys.executable, "-m", "mmsynth_tf.demo.experiments", "--workdir=out", "--designs=4seg", "--designs=1seg"]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert os.path.samefile(folder / "out/models_1seg/structure", folder / "out/models/structure")
    return [json.loads(line) for line in (folder / "calls.txt").read_text().splitlines()]


def test_stages_are_trained_once_for_each_lesion_design(calls):
    trained = [(a["workdir"], a["stage"]) for script, a in calls if script == "train.py"]
    assert trained == [
        *(("out/models", stage) for stage in constants.STAGES),
        *(("out/models_1seg", stage) for stage in (constants.SEGMENTATION, constants.SYNTHESIS)),
    ]


def test_data_that_is_there_is_not_built_again_and_sets_are_as_large_as_the_real_one(calls):
    built = [a for script, a in calls if script == "datasets/build.py"]
    assert [a["output"] for a in built] == ["out/filtered", "out/unfiltered_4seg", "out/unfiltered_1seg"]
    # Two patients of five slices.
    assert {a["count"] for a in built} == {"10"}
    assert [a.get("config.generation.dice_threshold") for a in built] == [None, "0", "0"]


def test_every_experiment_is_run_and_the_report_comes_last(calls):
    run = {a["experiment"]: a for script, a in calls if script == "evaluate.py"}
    assert list(run) == [*catalogue.EXPERIMENTS, "report"]
    assert run["lesion_check"]["synthetic_data"] == "out/unfiltered_4seg,out/unfiltered_1seg"
    assert (run["usability"]["synthetic_data"], run["usability"]["protocol"]) == ("out/filtered", constants.PAPER)
    assert {a["workdir"] for a in run.values()} == {"out/models"}


def test_the_rows_of_the_usability_experiment_exist(calls):
    from mmsynth_tf.experiments.usability import mixtures

    [rows] = [a["rows"] for _, a in calls if a.get("experiment") == "usability"]
    assert {m.name for m in mixtures.select(rows.split(","))} == set(rows.split(","))


def test_a_step_that_fails_ends_the_demonstration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("raise SystemExit(1)")
    with pytest.raises(UserError, match=r"train\.py failed; see above"):
        steps.run("train.py", stage="structure")
