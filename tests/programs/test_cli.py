"""The console script: its jobs, their help and their refusals; one job from file to file with real signatures."""

import os
import subprocess
import sys

import nibabel
import pytest

from mmsynth_tf import constants
from mmsynth_tf.cli import main
from mmsynth_tf.configs import tree
from mmsynth_tf.export import saved_models
from tests.fakes import fakes, fakes_cases, programs

JOBS = tuple(main._JOBS)
CONFIG = fakes.tiny_config(num_modalities=4, data__modalities=constants.BRATS_MODALITIES, data__crop_rows=(2, 18))


def mmsynth(*arguments):
    return programs.run("-m", "mmsynth_tf.cli", *arguments)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained stages for translation, exported."""
    workdir, config = tmp_path_factory.mktemp("workdir"), tree.override(CONFIG, {"data.crop_columns": (0, 16)})
    for stage in (constants.SEGMENTATION, constants.SYNTHESIS):
        fakes.untrained(stage, config, workdir, []).checkpoints.save(1)
    saved_models.export(workdir, workdir / "exported")
    return workdir / "exported"


def test_without_a_job_the_jobs_are_listed():
    result = mmsynth()
    assert result.returncode == 1
    assert all(f"\n  {job} " in result.stderr for job in JOBS)
    assert "There is no job 'dream'" in mmsynth("dream").stderr
    assert mmsynth("--help").returncode == 0


def test_help_of_a_job_lists_its_flags():
    result = mmsynth("insert", "--help")
    assert "mmsynth insert --models=models/a" in result.stdout
    assert "--[no]remove_lesion" in result.stdout
    assert "--layout" not in result.stdout


@pytest.mark.parametrize("job", JOBS)
def test_help_says_what_a_job_needs_and_how_many_threads_it_takes(job):
    text = mmsynth(job, "--help").stdout
    assert "\nNeeds: " in text
    assert "--threads" in text


@pytest.mark.parametrize(("arguments", "expected"), [(["--threads=3"], "3 3 False"), ([], "None None False")])
def test_threads_are_limited_before_libraries_that_read_the_limit_are_imported(arguments, expected):
    script = (
        "import os, sys\n"
        "from mmsynth_tf.cli import main\n"
        "def show():\n"
        "    names = 'TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS'\n"
        "    print(*(os.environ.get(name) for name in names), bool({'numpy', 'tensorflow'} & set(sys.modules)))\n"
        "show.__doc__ = 'Shows.'\n"
        "main._JOBS['show'] = main._Job(show, lambda: None, 'nothing.')\n"
        "main.main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    command = [sys.executable, "-c", script, "show", *arguments]
    result = subprocess.run(
        command, cwd=programs.REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.stdout.strip() == expected, result.stderr


def test_translates_a_file_with_exported_models(models, tmp_path):
    folder = fakes_cases.write_nifti_case(tmp_path, "p1", fakes_cases.volumes())
    arguments = (f"--models={models}", f"--input={folder / 'p1_t1.nii.gz'}", f"--output={tmp_path / 'out'}")
    result = mmsynth("translate", *arguments)
    assert result.returncode == 0, result.stderr
    assert "Not for clinical use" in result.stdout
    for suffix in ("t2", "t1ce", "flair"):
        assert nibabel.load(tmp_path / "out" / "p1" / f"p1_{suffix}.nii.gz").shape == fakes_cases.SHAPE


def test_pastes_a_real_lesion_and_says_what_does_not_go_together(models, tmp_path):
    fakes_cases.write_nifti_case(tmp_path / "in", "p1", fakes_cases.volumes())
    fakes_cases.write_nifti_case(tmp_path / "donors", "p2", fakes_cases.volumes())
    shared = (f"--models={models}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}")
    result = mmsynth("insert", *shared, f"--lesions_from={tmp_path / 'donors'}")
    assert result.returncode == 0, result.stderr
    assert nibabel.load(tmp_path / "out" / "p1" / "p1_t1ce.nii.gz").shape == fakes_cases.SHAPE
    for wrong, message in (
        ([], "Give either --label"),
        (["--lesions_from=a", "--label=b"], "Give either --label"),
        (["--lesions_from=a", "--redraw"], "does not take --redraw"),
    ):
        result = mmsynth("insert", *shared, *wrong)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr


def test_jobs_on_synthetic_sets_refuse_real_patients(prepared_data, tmp_path):
    data = f"--data={prepared_data.path}"
    card = mmsynth("card", data)
    remake = mmsynth("remake", data, "--sample=a", f"--workdir={tmp_path}", f"--labels_from={prepared_data.path}")
    for result in (card, remake):
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert f"Error: {prepared_data.path} is no synthetic data set" in result.stderr


def test_mendable_error_is_one_line(tmp_path):
    result = mmsynth("view", f"--input={tmp_path}", f"--output={tmp_path}")
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {tmp_path} exists.")
