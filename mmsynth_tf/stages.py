"""The stages: what each trains, on which batches, with which optimizers."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from mmsynth_tf import commands, compat, configs, constants, input_pipeline, stage_configs
from mmsynth_tf.models import networks
from mmsynth_tf.models.adam import Adam
from mmsynth_tf.models.lesion_processor import LesionProcessor
from mmsynth_tf.models.modality_gan import ModalityGAN
from mmsynth_tf.models.segmenter import Segmenter
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.models.structure_gan import StructureGAN

_LEARNING = ("augmentation.", "runtime.seed", "runtime.precision", "runtime.ema_decay", "runtime.augment")
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between stages: how to build the model, its batches and its optimizers."""

    build: Callable[[configs.Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[configs.Config], stage_configs.StageConfig]  # The stage's own part of the configuration.
    depends_on: tuple[str, ...]  # Settings, by the start of their path, that change what is learned.


def lesion_processor(config: configs.Config, design: str) -> LesionProcessor:
    """Untrained lesion processors of the segmenters' size."""
    return LesionProcessor(
        config.data.image_size,
        config.data.num_modalities,
        config.data.num_classes,
        design=design,
        base_filters=config.segmentation.base_filters,
        levels=config.segmentation.levels,
        dropout=config.segmentation.dropout,
        initializer=networks.generator_initializer(config.segmentation.mean_filter_init),
    )


STAGES: Mapping[str, Stage] = {
    constants.STRUCTURE: Stage(
        build=lambda c: StructureGAN(c.data.image_size, c.structure),
        batches=input_pipeline.structure_batches,
        settings=lambda c: c.structure,
        depends_on=("data.", "structure_map.", "structure.", *_LEARNING),
    ),
    constants.SEGMENTATION: Stage(
        build=lambda c: Segmenter(c.segmentation, lesion_processor(c, c.segmentation.design)),
        batches=input_pipeline.segmentation_batches,
        settings=lambda c: c.segmentation,
        depends_on=("data.", "segmentation.", *_LEARNING),
    ),
    constants.SYNTHESIS: Stage(
        build=lambda c: ModalityGAN(
            c.data, c.structure_map, c.synthesis, lesion_processor(c, c.synthesis.lesion_design)
        ),
        batches=input_pipeline.synthesis_batches,
        settings=lambda c: c.synthesis,
        depends_on=("data.", "structure_map.", "segmentation.", "synthesis.", *_LEARNING),
    ),
}


def optimizers(stage: str, config: configs.Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    """One Adam for each group of the stage's model."""
    settings = STAGES[stage].settings(config)
    if stage == constants.SEGMENTATION:
        rates = {"lesion": settings.learning_rate}
    else:
        rates = {"generator": settings.learning_rate, "discriminator": settings.discriminator_learning_rate}
        if stage == constants.SYNTHESIS and not settings.pretrained_lesion:
            rates["lesion"] = settings.lesion_learning_rate
        if stage == constants.STRUCTURE and settings.has_flow:
            rates["flow"] = settings.flow_learning_rate
    if settings.cosine_decay:
        rates = {
            group: tf.keras.optimizers.schedules.CosineDecay(rate, settings.steps) for group, rate in rates.items()
        }
    return {group: _adam(rate, settings.beta_1, config) for group, rate in rates.items()}


def _adam(rate, beta_1: float, config: configs.Config) -> tf.keras.optimizers.Optimizer:
    adam = Adam(rate, beta_1=beta_1)
    return compat.LossScaleOptimizer(adam) if config.runtime.precision == "mixed_float16" else adam


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Within it Keras layers are built with the given policy: float32, mixed_bfloat16 or mixed_float16."""
    if policy not in _PRECISIONS:
        raise commands.UserError(f"runtime.precision is {policy!r}; choose one of {', '.join(_PRECISIONS)}.")
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
