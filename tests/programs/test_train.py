"""`train.py` on several data sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmsynth_tf import constants

REPOSITORY = Path(__file__).resolve().parents[2]
# 12 slices of the first data set, whose images are dark, and 36 of the second; few of them are in memory at a time.
DRAW = """
import json, sys
from absl import flags
import train
from mmsynth_tf import input_pipeline, prepared
from mmsynth_tf.training import runs
from tests.fakes import fakes_sets

def opened(name):
    data = fakes_sets.real_data(train={"few": 4, "many": 12}[name])
    if name == "few":
        data.examples["train"]["image"] *= 0.5
    return data

def draw(run, batches):
    images = [batch["image"][:, 1].numpy() for batch in batches(0).take(12 * 48 // 2)]
    print(json.dumps([bool(image.max() < 0.6) for batch in images for image in batch]))

input_pipeline._BUFFER = 4
prepared.open_prepared, runs.Run.fit = opened, draw
flags.FLAGS(sys.argv)
train.main(sys.argv[:1])
"""
SETTINGS = ["segmentation.base_filters=2", "segmentation.levels=2", "segmentation.batch_size=2"]
SETTINGS += ["segmentation.formulation=paper"]  # Without augmentation.


def test_several_data_sets_are_drawn_at_their_shares_all_along_a_pass(tmp_path):
    arguments = ["--stage=segmentation", "--data_dir=few,many", f"--workdir={tmp_path}"]
    arguments += [f"--config.{setting}" for setting in SETTINGS]
    command = [sys.executable, "-c", DRAW, *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    dark = np.array(json.loads(result.stdout.splitlines()[-1])).reshape(12, 4, 12)
    assert np.all(dark.sum(axis=(1, 2)) == 12)
    # 36 of 144 draws in each quarter of 12 passes: the sd of a sample is 5.2 at most.
    assert np.all(np.abs(dark.sum(axis=(0, 2)) - 36) < 16)


def test_machines_that_train_together_name_a_preset(tmp_path):
    (tmp_path / "data_set.json").write_text('{"data": {}}')
    command = [sys.executable, "train.py", "--stage=all", "--preset=auto", f"--data_dir={tmp_path}"]
    command += [f"--workdir={tmp_path / 'run'}"]
    environment = {**os.environ, "TF_CONFIG": "{}"}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "name a preset" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stage=all", "--preset=cpu"], constants.STAGES),
        (["--stage=all", "--preset=paper"], constants.PAPER_STAGES),
        (["--stage=joint", "--preset=paper"], (constants.JOINT,)),
    ],
)
def test_all_stages_are_those_of_the_paper_where_it_is_followed(arguments, expected):
    script = (
        "import sys, train; from absl import flags; from mmsynth_tf.configs import flags as config_flags;"
        "flags.FLAGS(sys.argv); print(*train._stages(config_flags.config_from_flags()))"
    )
    command = [sys.executable, "-c", script, "--data_dir=a", "--workdir=b", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    assert result.stdout.split() == list(expected)
