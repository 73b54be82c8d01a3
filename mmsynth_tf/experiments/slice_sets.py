"""Sets of registered slices for comparisons: a split of a prepared data set, read in batches."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants, input_pipeline, prepared
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.study import Request, data_name
from mmsynth_tf.training import run_folder

BATCH = 32
STRUCTURE_MAP = "structure map"  # Modality name for measures of structure maps.


@dataclasses.dataclass(frozen=True)
class SliceSet:
    """A split of a prepared data set.

    Attributes:
      data: the data set.
      split: name of the split.
      limit: maximum number of slices to read; None for all. Builders order slices by a hash of their names, so the
        first ones are a random sample.
      least_head: smallest share of a slice that a head may cover; slices with less are left out.
    """

    data: prepared.PreparedData
    split: str
    limit: int | None = None
    least_head: float = 0.0

    @property
    def key(self) -> dict[str, str]:
        """Record fields that identify the set."""
        return {"test_data": data_name(self.data), "split": self.split}

    def slices(self) -> tf.data.Dataset:
        """Examples as `PreparedData.slices` yields them."""
        slices = self.data.slices(self.split)
        if self.least_head:
            slices = slices.filter(lambda example: head_share(example) >= self.least_head)
        return slices if self.limit is None else slices.take(self.limit)

    def batches(self) -> Iterator[dict[str, np.ndarray]]:
        """Batches of `BATCH` slices, features by name; `image` is float32 [B, n, H, W, 1]."""
        return input_pipeline.registered_batches(self.slices(), BATCH).as_numpy_iterator()


def head_share(example: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Share of a slice that the head covers in any modality: float32 []."""
    return tf.reduce_mean(tf.cast(tf.reduce_any(example["image"] > 0, axis=0), tf.float32))


def name_of(row: dict) -> str:
    """Name of a record's set, for tables."""
    return f"{row['test_data']} ({row['split']})"


def sources(request: Request, limit: int | None = None) -> tuple[SliceSet, SliceSet, list[SliceSet]]:
    """Real training slices, real unseen slices, and the synthetic sets.

    Raises:
      PreparedDataError: a set does not fit the segmenters.
      LeakError: patients of the unseen slices were used to train the segmenters or the generators of a synthetic set.
    """
    model = run_folder.read_config(request.workdir / constants.SEGMENTATION).data
    makers = [
        *run_folder.trained_on(constants.SEGMENTATION, request.workdir),
        *(data.record for data in request.synthetic),
    ]
    for data in request.data_sets:
        prepared.require_same_geometry(data, model, f"the segmenters in {request.workdir}")
    leaks.refuse_leak(makers, request.real, request.split)
    synthetic = [SliceSet(data, "train", limit) for data in request.synthetic]
    return SliceSet(request.training, "train", limit), SliceSet(request.real, request.split, limit), synthetic


@dataclasses.dataclass(frozen=True)
class Maps:
    """Structure maps and heads of slices.

    Attributes:
      structure: bool [B, n, H, W], edges within the head.
      head: bool [B, n, H, W], true INSIDE the head.
      interior: bool [B, n, H, W], the head without the rim that Algorithm 2 adds.
    """

    structure: np.ndarray
    head: np.ndarray
    interior: np.ndarray


def maps_of(batch: Mapping[str, np.ndarray], settings: configs.StructureMapConfig) -> Maps:
    """Algorithms 1 and 2 on the slices of a batch; synthetic samples keep the background mask of their input map."""
    images = tf.convert_to_tensor(batch["image"])
    size, modalities = images.shape[:2]
    flat = tf.reshape(images, [-1, *images.shape[2:]])
    if "background" in batch:
        background = tf.repeat(tf.cast(batch["background"], tf.float32), modalities, axis=0)
    else:
        background = _compiled(structure_maps.background_of, 1, tuple(images.shape[2:4]), settings)(flat)
    found = _compiled(_maps, 2, tuple(images.shape[2:4]), settings)(flat, background)
    return Maps(*(np.reshape(part.numpy(), [size, modalities, *images.shape[2:4]]) for part in found))


@functools.cache
def _compiled(
    algorithm: Callable[..., Any], num_images: int, size: tuple[int, int], settings: configs.StructureMapConfig
) -> Callable[..., Any]:
    """An algorithm of `num_images` tensors float32 [B, H, W, 1] and settings, traced once for (H, W) and any B."""
    signature = [tf.TensorSpec([None, *size, 1])] * num_images
    return tf.function(lambda *images: algorithm(*images, settings), input_signature=signature, autograph=False)


def _maps(images: tf.Tensor, background: tf.Tensor, settings: configs.StructureMapConfig) -> tuple[tf.Tensor, ...]:
    edges = structure_maps.structure_map(images, settings) > 0
    head = background < 0.5
    # Synthetic slices are not black in the rim.
    rows, columns = (1 + 2 * math.ceil(p / 2) for p in structure_maps.expansion(images.shape[1:3], settings))
    near = tf.nn.max_pool2d(background, (rows, columns), strides=1, padding="SAME")
    return edges & head, head, near < 0.5
