"""The interface of a training stage."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from mmsynth_tf.configs import Config, StageConfig
from mmsynth_tf.input_pipeline import SliceSource
from mmsynth_tf.models.stage import Batch, StageModel

PREVIEW_ROWS = 8

LEARNING = ("augmentation.", "runtime.seed", "runtime.precision", "runtime.ema_decay")

# Stage name to the trained model and the configuration of that stage in the same work directory.
LoadStage = Callable[[str], tuple[StageModel, Config]]


def each_modality(slices: Sequence[tf.data.Dataset], config: Config, *features: str) -> SliceSource:
    """A source in which each modality draws its own slices, with their labels and further features."""
    return SliceSource(slices, config.data.num_modalities, config.runtime.cache, ("label", *features))


def _no_features(config: Config) -> tuple[str, ...]:
    """For a stage that learns from images and labels alone."""
    return ()


def _refuse_nothing(slices: Sequence[tf.data.Dataset], config: Config) -> None:
    """For a stage that any data set with labels can train."""


def _install_nothing(model: StageModel, config: Config, load: LoadStage) -> None:
    """For a stage that takes no weights from other stages."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Describes one training stage; each `stages/*/stage.py` creates one.

    Attributes:
      build: builds the model.
      batches: maps a source, a configuration and a step to the training batches from that step on.
      settings: the stage's own part of the configuration.
      depends_on: path prefixes of the settings that affect training.
      optimizers: builds one optimizer for each group of the model.
      preview: draws the model's output for the first rows of a training batch, PNG.
      slices_per_row: number of slices in a row of a batch.
      make_source: makes the source that `batches` draws from, of labelled examples, settings and `features`.
      features: names of the features that the stage learns from, besides image and label.
      refuse: raises `UserError` if the labelled examples cannot train the stage; reads only as many as it needs.
      install: copies weights from other stages into a new model.
    """

    build: Callable[[Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[Config], StageConfig]
    depends_on: tuple[str, ...]
    optimizers: Callable[[Config], Mapping[str, tf.keras.optimizers.Optimizer]]
    preview: Callable[[StageModel, Config, Batch], bytes]
    slices_per_row: Callable[[Config], int]
    make_source: Callable[..., SliceSource] = each_modality
    features: Callable[[Config], tuple[str, ...]] = _no_features
    refuse: Callable[[Sequence[tf.data.Dataset], Config], None] = _refuse_nothing
    install: Callable[[StageModel, Config, LoadStage], None] = _install_nothing

    def source(self, slices: Sequence[tf.data.Dataset], config: Config) -> SliceSource:
        """What `batches` draws from.

        Args:
          slices: labelled examples, of one source or several.
          config: settings.

        Raises:
          UserError: a modality has no labelled slice.
        """
        return self.make_source(slices, config, *self.features(config))
