"""What differs between the stages."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.models.stage import StageModel

PREVIEW_ROWS = 8

LEARNING = ("augmentation.", "runtime.seed", "runtime.precision", "runtime.ema_decay", "runtime.augment")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between stages: how to build the model, its batches and its optimizers."""

    build: Callable[[configs.Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[configs.Config], configs.StageConfig]  # The stage's own part of the configuration.
    depends_on: tuple[str, ...]  # Settings, by the start of their path, that change what is learned.
