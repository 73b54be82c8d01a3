"""Several machines: who writes where, and what TF_CONFIG has to look like. tools/proofs/worker_test.py does it."""

import types

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import locks
from mmsynth_tf.training import devices


def machine(is_chief):
    return types.SimpleNamespace(extended=types.SimpleNamespace(should_checkpoint=is_chief))


def test_the_chief_alone_writes_to_the_folder_of_the_run(tmp_path):
    with (
        devices.output_folder(tmp_path, machine(True)) as chief,
        devices.output_folder(tmp_path, machine(False)) as other,
    ):
        assert chief == tmp_path
        assert other.is_dir() and tmp_path not in (other, *other.parents)
        with pytest.raises(locks.LockedError), devices.output_folder(tmp_path, machine(True)):
            pass
    assert not other.exists()


def test_one_machine_is_its_own_chief(tmp_path):
    with devices.output_folder(tmp_path, tf.distribute.get_strategy()) as folder:
        assert folder == tmp_path


def test_without_tf_config_there_is_one_machine(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert devices.several_machines() is None


@pytest.mark.parametrize("text", ["here", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": 1, "task": 2}'])
def test_a_wrong_tf_config_is_shown_beside_a_right_one(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"It should look like .*host1:port"):
        devices.several_machines()


def test_the_rows_of_a_batch_are_left_in_their_order_on_one_machine():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    batches = devices.own_rows(tf.data.Dataset.range(8).batch(4))
    [halves, *_] = strategy.experimental_distribute_dataset(batches)
    found = [value.numpy() for value in strategy.experimental_local_results(halves)]
    np.testing.assert_array_equal(found, [[0, 1], [2, 3]])
