"""What differs between the stages."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from mmsynth_tf.configs import Config, StageConfig
from mmsynth_tf.models.stage import Batch, StageModel

PREVIEW_ROWS = 8

LEARNING = ("augmentation.", "runtime.seed", "runtime.precision", "runtime.ema_decay", "runtime.augment")

# Given its name, the model and the configuration of a trained stage of the same work directory.
LoadStage = Callable[[str], tuple[StageModel, Config]]


def _install_nothing(model: StageModel, config: Config, load: LoadStage) -> None:
    """A stage that starts from its own weights alone."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between stages; each `stages/*/stage.py` makes one.

    Attributes:
      build: makes the model.
      batches: of a `SliceSource`, a configuration and a step: the training batches from that step on.
      settings: the stage's own part of the configuration.
      depends_on: settings, by the start of their path, that change what is learned.
      optimizers: makes one for each group of the model.
      preview: a PNG of the model's output for the first rows of a training batch.
      slices_per_row: slices in a row of a batch.
      install: gives a new model what it takes from other stages.
    """

    build: Callable[[Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[Config], StageConfig]
    depends_on: tuple[str, ...]
    optimizers: Callable[[Config], Mapping[str, tf.keras.optimizers.Optimizer]]
    preview: Callable[[StageModel, Config, Batch], bytes]
    slices_per_row: Callable[[Config], int]
    install: Callable[[StageModel, Config, LoadStage], None] = _install_nothing
