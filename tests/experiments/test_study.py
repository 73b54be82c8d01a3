"""What an experiment measured is found again as long as what it depends on is the same."""

import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.training import checkpoints
from tests.fakes import fakes_data


@pytest.fixture
def request_(tmp_path):
    return Request(tmp_path / "models", fakes_data.data_set(tmp_path, "patients", {"train": ["r_0"], "test": ["r_1"]}))


def train(request, stage, weight):
    """Leaves a checkpoint as a training does."""
    folder = request.workdir / stage / checkpoints.FOLDER
    checkpoint = tf.train.Checkpoint(weight=tf.Variable(weight))
    tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1).save()


def measured(request, value, stages=(constants.SEGMENTATION,)):
    """What the experiment says, if it would measure `value` now."""
    [row] = Study("some", request, stages).part("part", lambda: [{"value": value}])
    return row["value"]


def test_a_part_is_measured_once(request_):
    train(request_, constants.SEGMENTATION, 1.0)
    assert [measured(request_, value) for value in (1, 2)] == [1, 1]


def test_another_training_of_a_stage_that_takes_part_is_measured_anew(request_):
    train(request_, constants.SEGMENTATION, 1.0)
    first = measured(request_, 1)
    train(request_, constants.SEGMENTATION, 2.0)
    assert (first, measured(request_, 2)) == (1, 2)


def test_training_of_other_stages_changes_nothing(request_):
    train(request_, constants.SEGMENTATION, 1.0)
    first = measured(request_, 1)
    train(request_, constants.STRUCTURE, 1.0)
    assert (first, measured(request_, 2), measured(request_, 3, ())) == (1, 1, 3)
