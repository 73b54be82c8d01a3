"""Builds on Apache Beam leave what plain builds leave. Skipped without it: pip install 'mmsynth_tf[beam]'."""

import functools
import json
import sys

import pytest

from datasets import cases as cases_builder
from datasets import on_beam, synthetic
from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import releases
from mmsynth_tf.storage.atomic import new_folder
from tests.datasets.test_synthetic_builder import FIRST_SIX, Generation, build, shards
from tests.fakes import fakes_cases


@pytest.fixture(scope="module")
def direct():
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed: pip install 'mmsynth_tf[beam]'")
    return on_beam.pipeline_options("--runner=DirectRunner")


def files(folder):
    """Content by name, but for the time in the record."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != constants.DATA_SET_RECORD}
    record = json.loads((folder / constants.DATA_SET_RECORD).read_text())
    return found, {**record, "created": None}


def test_real_cases(direct, tmp_path):
    for number in range(4):
        fakes_cases.write_nifti_case(tmp_path / "cases", f"case_{number}_1", fakes_cases.volumes())
    cases = releases.find_cases(tmp_path / "cases", fakes_cases.DATA.modalities, None)
    for name, options in (("plain", None), ("beam", direct)):
        with new_folder(tmp_path / name, constants.DATA_SET_RECORD) as folder:
            cases_builder.build(cases, fakes_cases.DATA, folder, False, "made up", options)
    assert files(tmp_path / "beam") == files(tmp_path / "plain")


def test_synthetic_samples(direct, tmp_path):
    build(Generation(), 6, tmp_path / "plain")
    synthetic.make_blocks_on_beam(Generation, 6, tmp_path / "beam", direct)
    finisher = Generation()
    record = build(finisher, 6, tmp_path / "beam")
    assert not finisher.made
    assert record["split"]["train"] == [f"synthetic_{draw}" for draw in FIRST_SIX]
    assert shards(tmp_path / "beam") == shards(tmp_path / "plain")


def test_blocks_of_another_making_are_refused(direct, tmp_path):
    synthetic.make_blocks(Generation(), 2, tmp_path / "out")
    with pytest.raises(UserError, match="seed differ"):
        synthetic.make_blocks_on_beam(functools.partial(Generation, seed=6), 2, tmp_path / "out", direct)


def test_without_beam_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options", None)
    with pytest.raises(UserError, match=r"pip install 'mmsynth_tf\[beam\]'"):
        on_beam.pipeline_options("--runner=DirectRunner")
