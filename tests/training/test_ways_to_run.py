"""A step does the same under XLA and on two replicas as it does eagerly on one device."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.models import losses
from mmsynth_tf.training import devices
from tests.fakes import fakes, training_checks

# XLA takes its time for each operation, so this is all of the steps once, in small.
CONFIG = fakes.tiny_config(
    2,
    segmentation__design=constants.ONE_SEGMENTER,
    synthesis__choices__residual_blocks=0,
    synthesis__full_every=2,
    synthesis__choices__contrast_condition=True,
    synthesis__choices__skips=True,
    # The segmentation stage trains the same networks on their own.
    synthesis__choices__pretrained_lesion=True,
)


@pytest.mark.parametrize("stage", fakes.STAGES)
def test_xla_and_two_replicas_leave_the_weights_of_eager_steps_on_one_device(stage):
    build, make_batch = fakes.STAGES[stage]
    batches = [make_batch(np.random.default_rng(seed), CONFIG, batch_size=4) for seed in range(2)]
    training_checks.assert_steps_agree(lambda: build(CONFIG), batches)


@pytest.mark.parametrize("name", ["moments", "dice"])
def test_statistics_of_the_batch_are_taken_over_all_replicas(name, rng):
    # Both are functions of the batch that a mean over replicas' values would get wrong.
    if name == "moments":
        loss, shape = losses.moments_loss, (4, 3)
    else:
        loss, shape = losses.soft_dice_loss, (4, 2, 2, 3)
    a, b = (tf.constant(rng.uniform(size=shape), tf.float32) for _ in range(2))
    strategy = devices.strategy()
    halves = [
        strategy.experimental_distribute_values_from_function(lambda c, x=x: tf.split(x, 2)[c.replica_id_in_sync_group])
        for x in (a, b)
    ]
    values = strategy.experimental_local_results(tf.function(lambda: strategy.run(loss, args=tuple(halves)))())
    for value in values:
        np.testing.assert_allclose(value, loss(a, b), rtol=1e-5)
