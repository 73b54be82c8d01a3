"""Trains and applies the joint segmenter on slices in memory; all random numbers follow from seed and step."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import strong_augmentation, warping
from mmsynth_tf.experiments.segmentation_gain.slices import Slices
from mmsynth_tf.models.adam import Adam
from mmsynth_tf.stages.segmentation.joint import JointSegmenter, drop_modalities

NONE, WEAK, STRONG = "none", "weak", "strong"
BATCH = 16
_LEARNING_RATE = 1e-3
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
    schedule = tf.keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, settings.steps)
    model.compile({"lesion": Adam(schedule)})
    draw = batches(parts, augmentation, seed)

    @tf.function(autograph=False)
    def step(number: tf.Tensor) -> None:
        model.train_step(draw(number))

    for number in range(settings.steps):
        step(tf.constant(number, tf.int64))
    return model


def batches(parts: Sequence[Examples], augmentation: str, seed: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function that draws the batch of a step, int64 []; arguments as for `train`."""
    change = {NONE: lambda *pair, seed: pair, WEAK: _weak, STRONG: functools.partial(strong_augmentation.augment)}
    tensors = [(tf.constant(images), tf.constant(labels[..., None])) for images, labels in parts]
    counts = [len(share) for share in np.array_split(np.arange(BATCH), len(parts))]

    def draw(number: tf.Tensor) -> dict[str, tf.Tensor]:
        own = tf.stack([tf.constant(seed, tf.int64), number])
        seeds = [tf.random.experimental.stateless_fold_in(own, stream) for stream in range(_DROPPED + 1)]
        drawn = []
        for place, ((images, labels), count) in enumerate(zip(tensors, counts, strict=True)):
            order = tf.random.experimental.stateless_fold_in(seeds[_DRAWN], place)
            chosen = tf.random.stateless_uniform([count], order, 0, len(images), tf.int32)
            drawn.append((tf.gather(images, chosen), tf.gather(labels, chosen)))
        image, label = (tf.concat(column, axis=0) for column in zip(*drawn, strict=True))
        image, label = change[augmentation](tf.cast(image, tf.float32), label, seed=seeds[_MOVED])
        return {"image": drop_modalities(image, seeds[_DROPPED]), "label": label}

    return draw


def _weak(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The paper's classical augmentation: small rotations, scalings and shifts, and mirroring."""
    transforms = warping.random_transforms(BATCH, images.shape[1:3], configs.AugmentationConfig(), seed)
    return warping.transform(images, transforms, "BILINEAR"), warping.transform(labels, transforms, "NEAREST")


def segmented(model: JointSegmenter, slices: Slices) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Segments case by case: case id, reference and segmentation, both uint8 [D, H, W]."""
    for case in np.unique(slices.case):
        own = np.flatnonzero(slices.case == case)
        images = slices.image[own].astype(np.float32)
        found = [model.segment(tf.constant(images[i : i + BATCH])).numpy() for i in range(0, len(own), BATCH)]
        yield str(case), slices.label[own], np.concatenate(found)
