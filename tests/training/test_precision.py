"""Every stage trains in reduced precision: what a step reports is finite, and every group of networks moves."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import compat
from mmsynth_tf.training import precision as training_precision
from tests.fakes import fakes, training_checks

CONFIGS = {
    "plain": fakes.tiny_config(2, structure__formulation="paper", synthesis__choices__residual_blocks=0),
    # What the presets beside `paper` have.
    "extended": fakes.tiny_config(
        2,
        synthesis__choices__residual_blocks=1,
        synthesis__choices__contrast_condition=True,
        synthesis__choices__skips=True,
        synthesis__choices__own_class_features=True,
    ),
}


def optimizer(precision: str) -> tf.keras.optimizers.Optimizer:
    sgd = tf.keras.optimizers.SGD(0.01)
    # From the usual first scale, 2^15, a few steps would only find the right one.
    return compat.LossScaleOptimizer(sgd, initial_scale=16.0) if precision == "mixed_float16" else sgd


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("stage", fakes.STAGES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_step_is_finite_and_moves_every_group(config, stage, precision, rng):
    build, make_batch = fakes.STAGES[stage]
    with training_precision.policy(precision):
        model = build(config)
        model.compile({name: optimizer(precision) for name in model.groups}, jit_compile=False)
    variables = {name: training_checks.variables_of(group.networks) for name, group in model.groups.items()}
    before = {name: [v.numpy() for v in own] for name, own in variables.items()}
    reported = model.train_step(make_batch(rng, config, batch_size=2))
    assert all(np.isfinite(float(value)) for value in reported.values())
    for name, own in variables.items():
        after = [v.numpy() for v in own]
        assert all(np.isfinite(value).all() for value in after), name
        assert any((a != b).any() for a, b in zip(after, before[name], strict=True)), name
