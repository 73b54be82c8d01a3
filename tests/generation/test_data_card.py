import os
import time
import types

import numpy as np
import pytest

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import study
from mmsynth_tf.generation import data_card
from mmsynth_tf.reports import finished, report
from mmsynth_tf.storage import records
from tests.datasets.test_synthetic_builder import IDENTITY, Generation, build


@pytest.fixture
def data(tmp_path):
    build(Generation(), 6, tmp_path / "made")
    return tmp_path / "made"


@pytest.fixture
def fidelity(data, tmp_path):
    """What an experiment leaves in a work directory."""
    folder = tmp_path / "work" / finished.EVALUATION / "fidelity"
    tables = {"table": report.Table(["set", "distance"], [["made", 1.5]], "Distance of the features.")}
    study.Study.finish(types.SimpleNamespace(folder=folder), [{"test_data": "made", "value": 1.5}], tables)
    return folder


def card(data, workdir=None):
    return data_card.write(data, workdir).read_text(encoding="utf-8")


def test_says_what_it_was_made_from_and_how(data):
    text = card(data)
    # Two patients in three cases for training; one for testing.
    assert "| structure stage | brats2017-2021 | 2 / 0 / 1 | 2026-01-01T00:00:00+00:00 | 0123 |" in text
    assert "| labels | brats2017-2021 | 2 / 0 / 1 |" in text
    assert "| mean Dice ≥ 0.9 | 12 | 8 | 66.7% |" in text
    assert "- seed 5\n" in text
    assert "6 axial slices" in text
    assert f"]({data_card.SAMPLES_FILE})" in text
    assert (data / data_card.SAMPLES_FILE).read_bytes().startswith(b"\x89PNG")
    # Labels of the draws 1, 3, 4, 5, 7, 9 are 1, 0, 1, 2, 1, 0.
    assert "| background | 2 | 33.3% |" in text
    assert "2 of 6 slices have no lesion" in text
    assert "Not for clinical use" in text
    assert "registered users" in text


def test_says_how_far_the_set_is_from_what_the_paper_requires(data):
    text = card(data)
    # Each of the six slices has the Dice 0, 1/3, 2/3 and 1; four slices have a lesion.
    assert "mean Dice of at least 0.99 for a finished set: not reached (0.500)." in text
    assert "| made | Dice of the lesion | 4 | 0.000 | 0.333 | 0.667 | 1.000 | 0.500 | not reached (0.500) |" in text
    assert "2 slices without a lesion are counted separately" in text
    without = "no lesion in the label: share without a found lesion"
    assert f"| made | {without} | 2 | 0.000 | 0.333 | 0.667 | 1.000 | 0.500 | – |" in text
    assert "keeps samples with a mean Dice of at least 0.9; the paper's threshold is 0.95" in text


def test_says_that_the_requirement_was_not_measured_where_no_segmenter_judged(tmp_path):
    class Unfiltered(Generation):
        def example(self, draw):
            return {**super().example(draw), "dice": np.full(4, np.nan, np.float32)}

    settings = {**IDENTITY["settings"], "dice_threshold": 0.0}
    record = build(Unfiltered(settings=settings), 6, tmp_path / "made")
    assert record["statistics"]["lesion_agreement"] is None
    assert "was not measured in this set" in card(tmp_path / "made")


def test_says_so_where_the_images_are_patients(tmp_path):
    settings = {**IDENTITY["settings"], "real_anatomy": True}
    build(Generation(settings=settings), 6, tmp_path / "made")
    text = card(tmp_path / "made")
    assert "Except for the synthetic lesions, the images are of training patients." in text
    assert "inserted into real slices" in text
    assert "no slice shows a patient" not in text
    assert "Algorithm 3" not in text


def test_says_what_was_not_measured_and_how_to(data):
    text = card(data)
    for experiment in ("fidelity", "memorisation"):
        assert f"--experiment={experiment} --workdir=<workdir> --test_data=<real data> --synthetic_data=made" in text


def test_quotes_what_was_measured(data, fidelity):
    text = card(data, fidelity.parents[1])
    assert "Distance of the features." in text
    assert "| made | 1.500 |" in text
    assert "--experiment=fidelity" not in text
    assert "--experiment=memorisation" in text


def test_does_not_quote_measurements_of_another_or_an_older_set(data, fidelity):
    file = fidelity / finished.RECORDS_FILE
    os.utime(file, (time.time() - 3600,) * 2)
    assert "--experiment=fidelity" in card(data, fidelity.parents[1])
    records.write_json(file, [{"test_data": "other", "value": 1.5}])
    assert "--experiment=fidelity" in card(data, fidelity.parents[1])


def test_only_synthetic_data_sets_get_cards(prepared_data, tmp_path):
    with pytest.raises(UserError, match="is no synthetic data set"):
        data_card.write(prepared_data.path)
    with pytest.raises(prepared.PreparedDataError, match="holds no whole data set"):
        data_card.write(tmp_path)
