"""The stages: what each trains, on which batches, with which optimizers."""

from collections.abc import Mapping

import tensorflow as tf

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import Config
from mmsynth_tf.models.adam import stage_adam
from mmsynth_tf.models.stage import Batch, StageModel
from mmsynth_tf.stages.base import LEARNING, Stage
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.stages.segmentation.stage import lesion_processor, segmentation_batches, segmentation_preview
from mmsynth_tf.stages.structure import stage as structure_stage
from mmsynth_tf.stages.structure.gan import StructureGAN
from mmsynth_tf.stages.structure.stage import structure_batches, structure_preview
from mmsynth_tf.stages.synthesis.gan import ModalityGAN
from mmsynth_tf.stages.synthesis.stage import synthesis_batches, synthesis_preview

STAGES: Mapping[str, Stage] = {
    constants.STRUCTURE: Stage(
        build=lambda c: StructureGAN(c.data.image_size, c.structure),
        batches=structure_batches,
        settings=lambda c: c.structure,
        depends_on=("data.", "structure_map.", "structure.", *LEARNING),
    ),
    constants.SEGMENTATION: Stage(
        build=lambda c: Segmenter(c.segmentation, lesion_processor(c, c.segmentation.design)),
        batches=segmentation_batches,
        settings=lambda c: c.segmentation,
        depends_on=("data.", "segmentation.", *LEARNING),
    ),
    constants.SYNTHESIS: Stage(
        build=lambda c: ModalityGAN(
            c.data, c.structure_map, c.synthesis, lesion_processor(c, c.synthesis.lesion_design)
        ),
        batches=synthesis_batches,
        settings=lambda c: c.synthesis,
        depends_on=("data.", "structure_map.", "segmentation.", "synthesis.", *LEARNING),
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
        if stage == constants.STRUCTURE and settings.choices.match_codes:
            rates["flow"] = structure_stage.FLOW_LEARNING_RATE
    choices = settings.choices if stage == constants.SEGMENTATION else settings
    if stage != constants.STRUCTURE and choices.cosine_decay:
        rates = {
            group: tf.keras.optimizers.schedules.CosineDecay(rate, settings.steps) for group, rate in rates.items()
        }
    beta_1 = structure_stage.BETA_1 if stage == constants.STRUCTURE else choices.beta_1
    return {group: stage_adam(rate, beta_1, config) for group, rate in rates.items()}


def preview(model: StageModel, config: Config, batch: Batch) -> bytes:
    """A PNG of the model's output for the first rows of a training batch."""
    if isinstance(model, StructureGAN):
        return structure_preview(model, config, batch)
    if isinstance(model, ModalityGAN):
        return synthesis_preview(model, config, batch)
    if isinstance(model, Segmenter):
        return segmentation_preview(model, config, batch)
    raise TypeError(f"No preview for {type(model).__name__}.")
