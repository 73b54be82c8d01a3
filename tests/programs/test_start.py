"""Programs answer --help and wrong arguments at once: before they import anything that takes seconds."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmsynth_tf import program
from mmsynth_tf.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = ("tensorflow", "tensorflow_datasets", "keras", "scipy", "matplotlib", "nibabel", "cv2")
MODULES = ("cli", "demo", "demo.experiments", "export")
JOBS = tuple(main._JOBS)
PROGRAMS = [
    ["train.py", "--help"],
    ["evaluate.py", "--help"],
    ["datasets/build.py", "--help"],
    *(["-m", f"mmsynth_tf.{module}", "--help"] for module in MODULES),
    *(["-m", "mmsynth_tf.cli", job, "--help"] for job in JOBS),
]
REFUSED = [
    ["train.py", "--stage=dream", "--data_dir=a", "--workdir=b"],
    ["train.py", "--stage=structure", "--data_dir=a", "--workdir=b", "--config.dream=1"],
    ["train.py", "--stage=structure", "--data_dir=absent", "--workdir=b"],
    ["evaluate.py", "--experiment=segmentation", "--test_data=absent", "--workdir=b"],
    ["evaluate.py", "--experiment=usability", "--test_data=absent", "--workdir=b", "--synthetic_data=c"],
]


def start(*arguments: str) -> tuple[subprocess.CompletedProcess, set[str]]:
    """The outcome, and which slow packages were imported on the way."""
    command = [sys.executable, "-X", "importtime", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    imported = set(re.findall(r"^import time:.*\| +(\w+)", result.stderr, re.MULTILINE))
    assert "absl" in imported
    return result, imported.intersection(SLOW)


@pytest.mark.parametrize("arguments", PROGRAMS, ids=" ".join)
def test_help_is_quick(arguments):
    result, slow = start(*arguments)
    assert "flags:" in result.stdout or "Usage:" in result.stdout
    assert not slow


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_wrong_arguments_are_refused_quickly(arguments):
    result, slow = start(*arguments)
    assert result.returncode == 1
    assert not slow
    if "--experiment=usability" in arguments:
        assert "give --protocol=paper, or --experiment=segmentation_gain" in " ".join(result.stderr.split())


def test_messages_of_the_package_and_of_the_builds_are_shown_once_and_those_of_others_are_not():
    script = (
        "import logging\n"
        "from mmsynth_tf import program\n"
        "def main(argv):\n"
        "    for name in ('mmsynth_tf.reading.cases', 'datasets.check', 'absl', 'tensorflow'):\n"
        "        logging.getLogger(name).warning('from %s', name)\n"
        "program.run(main)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert re.findall(r"from (\S+)$", result.stderr, re.MULTILINE) == ["mmsynth_tf.reading.cases", "datasets.check"]


@pytest.mark.parametrize(
    ("machine", "by_user", "expected"), [("x86_64", None, "1"), ("x86_64", "0", "0"), ("arm64", None, None)]
)
def test_convolutions_of_onednn_are_on_by_default_on_x86_alone(monkeypatch, machine, by_user, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if by_user:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", by_user)
    program.prepare_tensorflow()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected
