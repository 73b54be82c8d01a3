"""Trains the joint segmenter as its stage does, on slices in memory, and applies it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants
from mmsynth_tf.experiments.segmentation_gain.slices import Slices
from mmsynth_tf.stages.joint import stage
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter

NONE, WEAK, STRONG = constants.UNCHANGED, constants.WEAK, constants.STRONG
BATCH = configs.JointConfig().batch_size
_DRAWN, _MOVED, _DROPPED = range(3)

Examples = tuple[np.ndarray, np.ndarray]


def train(
    parts: Sequence[Examples], augmentation: str, num_classes: int, settings: configs.SegmentationConfig, seed: int
) -> JointSegmenter:
    """Trains a joint segmenter.

    Args:
      parts: images [N, H, W, n] and labels [N, H, W] that each fill an equal part of every batch.
      augmentation: `NONE`, `WEAK` or `STRONG`.
      num_classes: K.
      settings: `steps`, `base_filters` and `levels` are used.
      seed: of the initial weights and the batches.
    """
    tf.keras.utils.set_random_seed(seed)
    size, modalities = parts[0][0].shape[1:3], parts[0][0].shape[3]
    model = JointSegmenter(size, modalities, num_classes, base_filters=settings.base_filters, levels=settings.levels)
    joint = configs.JointConfig(steps=settings.steps)
    model.compile(stage.STAGE.optimizers(dataclasses.replace(configs.Config(), joint=joint)))
    drawn = tf.data.Dataset.range(settings.steps).map(
        tf.autograph.experimental.do_not_convert(batches(parts, augmentation, seed)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    model.fit(drawn.prefetch(2), steps_per_epoch=settings.steps, shuffle=False, verbose=0)
    return model


def batches(parts: Sequence[Examples], augmentation: str, seed: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function that draws the batch of a step, int64 []; arguments as for `train`."""
    tensors = [(tf.constant(images), tf.constant(labels[..., None])) for images, labels in parts]
    counts = [len(share) for share in np.array_split(np.arange(BATCH), len(parts))]

    def draw(step: tf.Tensor) -> dict[str, tf.Tensor]:
        own = tf.stack([tf.constant(seed, tf.int64), step])
        seeds = [tf.random.experimental.stateless_fold_in(own, stream) for stream in range(_DROPPED + 1)]
        drawn = []
        for place, ((images, labels), count) in enumerate(zip(tensors, counts, strict=True)):
            order = tf.random.experimental.stateless_fold_in(seeds[_DRAWN], place)
            chosen = tf.random.stateless_uniform([count], order, 0, len(images), tf.int32)
            drawn.append((tf.gather(images, chosen), tf.gather(labels, chosen)))
        image, label = (tf.concat(column, axis=0) for column in zip(*drawn, strict=True))
        batch = {"image": tf.cast(image, tf.float32), "label": label}
        return stage.varied(batch, augmentation, configs.AugmentationConfig(), (seeds[_MOVED], seeds[_DROPPED]))

    return draw


def segmented(model: JointSegmenter, slices: Slices) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Segments case by case: case id, reference and segmentation, both uint8 [D, H, W]."""
    for case in np.unique(slices.case):
        own = np.flatnonzero(slices.case == case)
        images = slices.image[own].astype(np.float32)
        found = [model.segment(tf.constant(images[i : i + BATCH])).numpy() for i in range(0, len(own), BATCH)]
        yield str(case), slices.label[own], np.concatenate(found)
