"""The commands that `make experiments` and `make decathlon` give, with scripts in their place that note their calls."""

import json
import os
import subprocess
import sys

import pytest

from mmsynth_tf import constants
from mmsynth_tf.demo import steps
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import catalogue
from tests.fakes import programs, task01
from tools.proofs import tiny

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


def scripts(folder):
    (folder / "datasets").mkdir()
    for name in ("train.py", "evaluate.py", "datasets/build.py"):
        (folder / name).write_text(SCRIPT)
    return folder


@pytest.fixture
def folder_of_scripts(tmp_path):
    (tmp_path / "scripts").mkdir()
    return scripts(tmp_path / "scripts")


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """(script, arguments) of every command; the real data is there before."""
    folder = scripts(tmp_path_factory.mktemp("demonstration"))
    (folder / "out" / "real").mkdir(parents=True)
    (folder / "out" / "real" / constants.DATA_SET_RECORD).write_text(json.dumps(DATA))
    command = [sys.executable, "-m", "mmsynth_tf.demo.experiments", "--workdir=out", "--designs=4seg", "--designs=1seg"]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(programs.REPOSITORY)})
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


@pytest.fixture
def decathlon(folder_of_scripts, tmp_path, monkeypatch):
    """Runs the Decathlon's command; returns it and the calls that it gave. There is nothing to export."""
    tiny.write_cases(tmp_path / "cases", 2)
    task01.write(tmp_path / "cases", tmp_path / "task")

    def run(*arguments):
        monkeypatch.setenv("PYTHONPATH", str(programs.REPOSITORY))
        command = ["-m", "mmsynth_tf.demo.decathlon", f"--data={tmp_path / 'task'}", "--workdir=out", *arguments]
        result = programs.run(*command, folder=folder_of_scripts)
        calls = folder_of_scripts / "calls.txt"
        return result, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    return run


def test_the_decathlon_goes_from_cases_to_models_with_the_same_settings(decathlon, tmp_path):
    settings = {"preset": "demo", "config.joint.steps": "7", "config.data.slices": "1,5,1"}
    settings |= {"config.generation.real_anatomy": "True"}
    result, calls = decathlon(*(f"--{name}={value}" for name, value in settings.items()))
    build, train, evaluate = calls
    source = {"source": "cases", "input": str(tmp_path / "task"), "release": "decathlon", "output": "out/data"}
    assert build == ["datasets/build.py", {**source, **settings}]
    assert train == ["train.py", {"stage": "all", "data_dir": "out/data", "workdir": "out/run", **settings}]
    segmentation = {"experiment": "segmentation", "workdir": "out/run", "test_data": "out/data"}
    assert evaluate == ["evaluate.py", segmentation]
    assert "$ python -m mmsynth_tf.export --workdir=out/run --output=out/models --overwrite=True" in result.stdout
    assert "mmsynth_tf.export failed" in result.stderr
    # Built data is kept; the others know themselves what is finished.
    _, calls = decathlon("--preset=demo")
    assert [script for script, _ in calls[3:]] == ["train.py", "evaluate.py"]


def test_a_folder_that_is_not_the_decathlons_is_refused_before_anything_runs(decathlon, tmp_path):
    (tmp_path / "task" / "dataset.json").unlink()
    result, calls = decathlon()
    assert result.returncode == 1 and result.stderr.startswith("Error: ") and not calls


def test_a_step_that_fails_ends_the_demonstration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("raise SystemExit(1)")
    with pytest.raises(UserError, match=r"train\.py failed; see above"):
        steps.run("train.py", stage="structure")
