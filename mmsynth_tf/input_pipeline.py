"""Training batches with tf.data.

Each modality draws its slices independently of the others (unregistered
training, the paper's point), or slices are registered: all modalities of one,
as the channels of one image. Everything random about a step is drawn here, by
stateless operations from (seed, step), so a run that is resumed at a step sees
what an undisturbed one sees.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants, prepared
from mmsynth_tf.algorithms import strong_augmentation, warping
from mmsynth_tf.configs import AugmentationConfig, Config
from mmsynth_tf.errors import UserError
from mmsynth_tf.models import passes
from mmsynth_tf.models.stage import Batch

# Size of the shuffle buffers of all sources together. A larger set is shuffled only within this neighbourhood.
_BUFFER = 20_000
# Independent random streams of a step.
TRANSFORM, JUDGED, SOURCE, LABEL, LABEL_TRANSFORM, PAIRS, NOISE, CODE, CONTRAST, DROPPED = range(10)


class SliceSource:
    """Slices to draw from, each modality from those that have it.

    Slices from several sources are drawn from each at its share of the whole, everywhere in a pass.

    Args:
      slices: examples as `PreparedData.slices` yields them, all labelled, of one source or of several.
      num_modalities: n.
      cache: keep the decoded slices in memory.
      shared: features that go into the streams besides `image`; all modalities of a slice share them.

    Attributes:
      counts: number of slices of each modality.
      total: number of slices, those that lack modalities included.

    Raises:
      UserError: a modality has no labelled slice.
    """

    def __init__(
        self,
        slices: tf.data.Dataset | Sequence[tf.data.Dataset],
        num_modalities: int,
        cache: bool = True,
        shared: Sequence[str] = ("label",),
    ):
        sources = [slices] if isinstance(slices, tf.data.Dataset) else slices
        self._sources = [source.cache() if cache else source for source in sources]
        self.num_modalities, self.features = num_modalities, ("image", *shared)
        counted = [_count_slices(source, num_modalities) for source in self._sources]
        self._counts = [counts for counts, _ in counted]
        self.counts, self.total = [sum(c) for c in zip(*self._counts, strict=True)], sum(total for _, total in counted)
        if not all(self.counts):
            raise UserError(
                f"A modality has no labelled training slice (slices by modality: {self.counts}). Add labelled cases of "
                "it, or build the data set without it (--config.data.modalities)."
            )

    def modality(self, index: int, seed: int, start: int) -> tf.data.Dataset:
        """An endless shuffled stream of one modality's slices, from its `start`-th element on."""
        count, counts = self.counts[index], [own[index] for own in self._counts]
        own = [source.filter(lambda x: x["available"][index]) for source in self._sources]
        # The source of each of a pass's slices, before these are put in random order.
        numbers = np.repeat(np.arange(len(own)), counts)

        def one_pass(number: tf.Tensor) -> tf.data.Dataset:
            # Local to this function's graph: with a global seed, shuffle does not take a tensor for its own.
            tf.random.set_seed(None)
            order = _stream_seed(seed, number, index, tf.int64)
            shuffled = [
                source.shuffle(
                    max(1, math.ceil(own_count * min(1.0, _BUFFER / count))),
                    seed=order + position,
                    reshuffle_each_iteration=False,
                )
                for position, (source, own_count) in enumerate(zip(own, counts, strict=True))
            ]
            if len(shuffled) > 1:
                turns = tf.random.experimental.stateless_shuffle(numbers, seed=tf.stack([order, len(shuffled)]))
                drawn = tf.data.Dataset.choose_from_datasets(shuffled, tf.data.Dataset.from_tensor_slices(turns))
            else:
                (drawn,) = shuffled
            # Selecting after the shuffle lets the streams of all modalities hold the same slices in memory.
            return drawn.map(lambda x: {name: x[name] for name in self.features} | {"image": x["image"][index]})

        endless = tf.data.Dataset.counter(start=start // count).flat_map(one_pass)
        return endless.skip(start % count)


def registered_source(slices: Sequence[tf.data.Dataset], cache: bool = True, whole: bool = False) -> SliceSource:
    """A source of registered slices: all modalities of a slice are the channels of one image.

    Its streams give `image` float16 [H, W, n], 0 for a missing modality, and `label` uint8 [H, W, 1].

    Args:
      slices: examples as `PreparedData.slices` yields them, all labelled, of several sources.
      cache: keep the decoded slices in memory.
      whole: leave out slices that lack a modality.

    Raises:
      UserError: there is no such slice.
    """

    def as_channels(example: dict) -> dict:
        image, taken = tf.transpose(example["image"][..., 0], [1, 2, 0]), not whole or is_whole(example)
        return {"image": image[None], "label": example["label"], "available": tf.reshape(taken, [1])}

    return SliceSource([source.map(as_channels) for source in slices], 1, cache)


def is_whole(example: dict) -> tf.Tensor:
    """Whether a slice has all modalities: bool []."""
    return tf.reduce_all(example["available"])


def _count_slices(slices: tf.data.Dataset, num_modalities: int) -> tuple[list[int], int]:
    """The slices of each modality, and all slices."""

    def add(sums: tf.Tensor, example: dict) -> tf.Tensor:
        return sums + tf.concat([tf.cast(example["available"], tf.int64), [1]], axis=0)

    *counts, total = slices.reduce(tf.zeros([num_modalities + 1], tf.int64), add).numpy().tolist()
    return counts, total


def training_features(slices: tf.data.Dataset, *further: str) -> tf.data.Dataset:
    """The labelled examples, with only what training needs: `image`, `label`, `available`, and `further` features.

    Raises:
      PreparedDataError: the examples lack a feature.
    """
    prepared.require_features(slices, further)
    labelled = slices.filter(lambda example: example["has_label"])
    return labelled.map(lambda x: {name: x[name] for name in ("image", "label", "available", *further)})


def registered_batches(slices: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """All examples in order, modalities together, for evaluation; images as float32."""
    batches = slices.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.map(lambda x: {**x, "image": tf.cast(x["image"], tf.float32)})
    return batches.prefetch(tf.data.AUTOTUNE)


# Nothing in the maps needs autograph, which would take seconds before the first step.
@tf.autograph.experimental.do_not_convert
def batches(
    source: SliceSource,
    config: Config,
    batch_size: int,
    start_step: int,
    finish: Callable[[Batch, tf.Tensor], Batch],
    augmentation: str,
) -> tf.data.Dataset:
    """Independent draws of every modality, augmented (see `augment`); `finish` adds what a stage needs."""
    seed, start = config.runtime.seed, start_step * batch_size
    streams = tuple(source.modality(index, seed, start) for index in range(source.num_modalities))
    slices = tf.data.Dataset.zip(streams).map(
        lambda *parts: {name: tf.stack([part[name] for part in parts]) for name in source.features}
    )
    batches = slices.batch(batch_size, drop_remainder=True).enumerate(start=start_step)

    def prepare(step: tf.Tensor, batch: Batch) -> Batch:
        batch = {**batch, "image": tf.cast(batch["image"], tf.float32)}
        seed = step_seed(config, step, TRANSFORM)
        return finish(augment(batch, augmentation, config.augmentation, seed), step)

    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def augment(batch: Batch, augmentation: str, config: AugmentationConfig, seed: tf.Tensor) -> Batch:
    """Transforms each slice, with its label, at random.

    Args:
      batch: `image` float32 [B, k, H, W, C], whose channels are transformed together, and `label` integer
        [B, k, H, W, 1].
      augmentation: `constants.UNCHANGED`, `WEAK` (the paper's classical augmentation: small turns, scalings and shifts,
        and mirroring) or `STRONG` (see `strong_augmentation`).
      config: ranges of the weak one; without `flip` the strong one does not mirror either.
      seed: int [2], stateless.
    """
    if augmentation == constants.UNCHANGED:
        return batch
    image, label = passes.merge(batch["image"]), passes.merge(batch["label"])
    if augmentation == constants.STRONG:
        ranges = strong_augmentation.StrongAugmentation()
        if not config.flip:
            ranges = dataclasses.replace(ranges, mirror_share=0.0)
        image, label = strong_augmentation.augment(image, label, seed, ranges)
    else:
        transforms = warping.random_transforms(image.shape[0], tuple(image.shape[1:3]), config, seed)
        image = warping.transform(image, transforms, "BILINEAR")
        label = warping.transform(label, transforms, "NEAREST")
    moved = {"image": image, "label": label}
    return {**batch, **{name: tf.reshape(value, batch[name].shape) for name, value in moved.items()}}


def draw_modality(size: int, config: Config, step: tf.Tensor) -> tf.Tensor:
    """The modality that gives each row's map: int32 [B]."""
    return tf.random.stateless_uniform([size], step_seed(config, step, SOURCE), 0, config.data.num_modalities, tf.int32)


def step_seed(config: Config, step: tf.Tensor, stream: int) -> tf.Tensor:
    return _stream_seed(config.runtime.seed, step, stream, tf.int32)


def _stream_seed(seed: int, step: tf.Tensor, stream: int, dtype: tf.DType) -> tf.Tensor:
    """A stateless seed int [2] (int32), or a single one (int64), for one stream of one step."""
    mixed = tf.random.stateless_uniform(
        [2], tf.stack([tf.cast(seed, tf.int64) * 64 + stream, tf.cast(step, tf.int64)]), None, None, tf.int32
    )
    return mixed if dtype == tf.int32 else tf.cast(mixed[0], tf.int64)
