"""The stage of the joint segmenter: its batches and preview (method §8)."""

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import AugmentationConfig, Config
from mmsynth_tf.input_pipeline import DROPPED, TRANSFORM, SliceSource, augment, batches, registered_source, step_seed
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.reports import figures
from mmsynth_tf.stages.base import LEARNING, PREVIEW_ROWS, Stage
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter, drop_modalities
from mmsynth_tf.stages.segmentation.stage import segmenter_optimizers


def joint_batches(source: SliceSource, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Batches for `JointSegmenter` from step `start_step` on, of an `input_pipeline.registered_source`."""
    settings = config.joint

    def finish(batch: Batch, step: tf.Tensor) -> Batch:
        drawn = {name: value[:, 0] for name, value in batch.items()}
        seeds = step_seed(config, step, TRANSFORM), step_seed(config, step, DROPPED)
        return varied(drawn, settings.choices.augmentation, config.augmentation, seeds)

    return batches(source, config, settings.batch_size, start_step, finish, constants.UNCHANGED)


def varied(batch: Batch, augmentation: str, ranges: AugmentationConfig, seeds: tuple[tf.Tensor, tf.Tensor]) -> Batch:
    """Augments slices, all modalities of a slice together, and drops modalities at random.

    Args:
      batch: `image` float32 [B, H, W, n] and `label` integer [B, H, W, 1].
      augmentation: as for `input_pipeline.augment`.
      ranges: of weak augmentation.
      seeds: int [2] each, stateless: for augmentation, and for the modalities that are dropped.
    """
    single = {name: value[:, None] for name, value in batch.items()}
    moved = augment(single, augmentation, ranges, seeds[0])
    return {"image": drop_modalities(moved["image"][:, 0], seeds[1]), "label": moved["label"][:, 0]}


def joint_preview(model: JointSegmenter, config: Config, batch: Batch) -> bytes:
    """The first slices, the mean of their modalities, with reference and segmentation, PNG."""
    image, label = batch["image"][:PREVIEW_ROWS], batch["label"].numpy()[:PREVIEW_ROWS, ..., 0]
    given = np.any(image.numpy() > 0, axis=(1, 2)).sum(axis=-1)
    mean = image.numpy().sum(axis=-1) / np.maximum(given, 1)[:, None, None]
    found = {"reference": label, "segmentation": model.segment(image).numpy()}
    return figures.label_overlays(mean, found, config.data.labels)


def _build(config: Config) -> JointSegmenter:
    data, settings = config.data, config.segmentation
    return JointSegmenter(
        data.image_size,
        data.num_modalities,
        data.num_classes,
        weights=config.joint.choices.weights,
        base_filters=settings.base_filters,
        levels=settings.levels,
    )


STAGE = Stage(
    build=_build,
    batches=joint_batches,
    settings=lambda config: config.joint,
    depends_on=("data.", "joint.", "segmentation.base_filters", "segmentation.levels", *LEARNING),
    optimizers=lambda config: segmenter_optimizers(config.joint, config),
    preview=joint_preview,
    slices_per_row=lambda config: config.data.num_modalities,
    make_source=lambda slices, config: registered_source(slices, config.runtime.cache),
)
