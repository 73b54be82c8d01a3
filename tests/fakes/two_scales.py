"""The smallest stage model, and runs of it: two single-weight networks with an optimizer each."""

from pathlib import Path

import tensorflow as tf

from mmsynth_tf.models.stage import Group, StageModel
from mmsynth_tf.training import checkpoints, loop

STEPS, INTERVAL = 6, 2


class TwoScales(StageModel):
    """y = a x and z = b y. The first group trains a on the mean of z, the second b on half of it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = scale(2.0), scale(3.0)
        self.groups = {"first": Group((self.first,), {"fit": 1.0}), "second": Group((self.second,), {"pull": 0.5})}

    def forward(self, batch, training):
        y = self.first(batch["x"], training=training)
        return {"y": y, "z": self.second(y, training=training)}

    def formulas(self, batch, tensors):
        mean = tf.reduce_mean(tf.cast(tensors["z"], tf.float32))
        return {"fit": lambda: mean, "pull": lambda: mean}

    @property
    def values(self) -> tuple[float, float]:
        return tuple(float(network.trainable_variables[0][0, 0]) for network in (self.first, self.second))


def scale(factor: float) -> tf.keras.Model:
    """x to factor · x."""
    initializer = tf.keras.initializers.Constant(factor)
    return tf.keras.Sequential(
        [tf.keras.Input((1,)), tf.keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer)]
    )


def batches(step: int) -> tf.data.Dataset:
    """Another random batch for each step, from `step` on."""
    return tf.data.Dataset.counter(step).map(lambda s: {"x": tf.random.stateless_uniform([2, 1], tf.stack([0, s]))})


PREVIEW = tf.io.encode_png(tf.zeros([1, 1, 1], tf.uint8)).numpy()


def run(
    folder: Path,
    *,
    model: StageModel | None = None,
    optimizer=None,
    batches=batches,
    interval: int = INTERVAL,
    after_step=None,
) -> None:
    """Trains `STEPS` steps in a folder, from its newest checkpoint on.

    Args:
      folder: exists.
      model: what is trained; `TwoScales` if not given.
      optimizer: makes an optimizer for a group; Adam if not given.
      batches: as for `loop.fit`.
      interval: as for `loop.fit`.
      after_step: called with the number of each step, counted from 0, before it is logged and saved.
    """
    model = model or TwoScales()
    optimizer = optimizer or (lambda: tf.keras.optimizers.Adam(0.1))
    model.compile({name: optimizer() for name in model.groups}, jit_compile=False)
    kept = open_checkpoints(folder, model)
    if kept.restore() < STEPS:
        loop.fit(
            model,
            batches,
            kept,
            folder,
            steps=STEPS,
            interval=interval,
            slices_per_step=2,
            draw=lambda: PREVIEW,
            after_step=after_step or (lambda step: None),
        )


def open_checkpoints(folder: Path, model: StageModel) -> checkpoints.Checkpoints:
    """The checkpoints of a run of a compiled model."""
    state = {"networks": model.networks, "optimizers": dict(model.optimizers)}
    return checkpoints.Checkpoints(folder, 2, state, len(model.terms))
