"""The segmentation stage: its batches, lesion processors and preview (method §8)."""

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import Config, JointConfig, SegmentationConfig
from mmsynth_tf.input_pipeline import TRANSFORM, SliceSource, augment, batches, step_seed
from mmsynth_tf.models import adam, networks
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.reports import figures
from mmsynth_tf.stages.base import LEARNING, Stage
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor
from mmsynth_tf.stages.segmentation.segmenter import Segmenter


def segmentation_batches(source: SliceSource, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Batches for `Segmenter` from step `start_step` on."""
    settings = config.segmentation
    return batches(
        source, config, settings.batch_size, start_step, lambda batch, step: batch, settings.choices.augmentation
    )


def mixed_batches(source: SliceSource, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Batches for `Segmenter` from a source whose feature `augmented` (bool) marks the slices to transform.

    Each draw of such a slice gets a new random transform, a weak one, so no two passes over the source are equal.
    """

    def finish(batch: Batch, step: tf.Tensor) -> Batch:
        plain = {name: batch[name] for name in ("image", "label")}
        chosen = batch["augmented"][..., None, None, None]
        moved = augment(plain, constants.WEAK, config.augmentation, step_seed(config, step, TRANSFORM))
        return {name: tf.where(chosen, moved[name], plain[name]) for name in plain}

    return batches(source, config, config.segmentation.batch_size, start_step, finish, constants.UNCHANGED)


def segmentation_preview(model: Segmenter, config: Config, batch: Batch) -> bytes:
    """The first slice of each modality with its reference and its segmentation, PNG."""
    found = model.segment(batch["image"][:1])
    return figures.label_overlays(
        batch["image"].numpy()[0, ..., 0],
        {"reference": batch["label"].numpy()[0, ..., 0], "segmentation": found.numpy()[0, ..., 0]},
        config.data.labels,
        row_names=config.data.modalities,
    )


def lesion_processor(config: Config, design: str) -> LesionProcessor:
    """Untrained lesion processors with the size of the segmenters."""
    choices = config.segmentation.choices
    return LesionProcessor(
        config.data.image_size,
        config.data.num_modalities,
        config.data.num_classes,
        design=design,
        base_filters=config.segmentation.base_filters,
        levels=config.segmentation.levels,
        dropout=choices.dropout,
        initializer=networks.generator_initializer(choices.mean_filter_init),
    )


def segmenter_optimizers(
    settings: SegmentationConfig | JointConfig, config: Config
) -> dict[str, tf.keras.optimizers.Optimizer]:
    """The optimizer of a segmenter, for steps and choices of `settings`."""
    choices = settings.choices
    decay_steps = settings.steps if choices.cosine_decay else 0
    return adam.optimizers({"lesion": choices.learning_rate}, choices.beta_1, decay_steps, config)


def _optimizers(config: Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    return segmenter_optimizers(config.segmentation, config)


STAGE = Stage(
    build=lambda config: Segmenter(config.segmentation, lesion_processor(config, config.segmentation.design)),
    batches=segmentation_batches,
    settings=lambda config: config.segmentation,
    depends_on=("data.", "segmentation.", *LEARNING),
    optimizers=_optimizers,
    preview=segmentation_preview,
    slices_per_row=lambda config: config.data.num_modalities,
)
