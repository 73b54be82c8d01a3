"""Slices with a textured disc for a head and a square lesion, which benchmarks and tests train on."""

import numpy as np
import tensorflow as tf

from mmsynth_tf.configs import Config
from mmsynth_tf.input_pipeline import SliceSource


def head_slice(rng: np.random.Generator, num_modalities: int, num_classes: int = 5, size: int = 16) -> dict:
    """One registered example, as `PreparedData.slices` yields it: a textured disc with a square lesion."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    inside = np.hypot(rows, columns) < rng.uniform(0.35, 0.42) * size
    image = np.where(inside, rng.uniform(0.1, 1.0, (num_modalities, size, size)), 0.0)
    label = np.zeros((size, size), np.uint8)
    extent = 3 * size // 16
    row, column = rng.integers(size // 2 - extent, size // 2 + extent // 3, 2)
    label[row : row + extent, column : column + extent] = rng.integers(1, num_classes, (extent, extent))
    return {
        "image": image[..., None].astype(np.float16),
        "label": label[..., None],
        "available": np.ones(num_modalities, bool),
        "has_label": np.array(True),
        "position": np.float32(0.5),
    }


def slices(count: int, config: Config, seed: int = 0) -> tf.data.Dataset:
    """`count` square examples of `head_slice`."""
    rng = np.random.default_rng(seed)
    n, classes, size = config.data.num_modalities, config.data.num_classes, config.data.height
    examples = [head_slice(rng, n, classes, size) for _ in range(count)]
    return tf.data.Dataset.from_tensor_slices({name: np.stack([e[name] for e in examples]) for name in examples[0]})


def slice_source(config: Config, count: int = 5, *further: str) -> SliceSource:
    return SliceSource(slices(count, config), config.data.num_modalities, shared=("label", *further))
