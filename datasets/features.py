"""The features that every prepared data set has, those that synthetic ones add, and their bytes on disk."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from mmsynth_tf.configs import DataConfig


def slice_features(data: DataConfig) -> dict[str, tfds.features.FeatureConnector]:
    """Features of one axial slice; see `mmsynth_tf.reading.slicing.slice_examples`."""
    size = (*data.image_size, 1)
    return {
        "image": {modality: _raw(size, np.float16) for modality in data.modalities},
        "available": tfds.features.Tensor(shape=(data.num_modalities,), dtype=np.bool_),
        "label": _raw(size, np.uint8),
        "has_label": tfds.features.Scalar(np.bool_),
        "case_id": tfds.features.Text(),
        "patient_id": tfds.features.Text(),
        "slice_index": tfds.features.Scalar(np.int32),
    }


def synthetic_features(data: DataConfig) -> dict[str, tfds.features.FeatureConnector]:
    """Features of one synthetic slice: those of a real one, the map and mask it was made from, and its provenance.

    `label_transform` is as `warping.random_transforms` gives it.
    """
    size = (*data.image_size, 1)
    return slice_features(data) | {
        "structure": _raw(size, np.uint8),
        "background": _raw(size, np.uint8),
        "seed": tfds.features.Scalar(np.int64),
        "label_source": tfds.features.Text(),
        "label_transform": tfds.features.Tensor(shape=(8,), dtype=np.float32),
        "anatomy_source": tfds.features.Text(),
        "mask_error": tfds.features.Scalar(np.float32),
        "map_similarity": tfds.features.Scalar(np.float32),
        "dice": tfds.features.Tensor(shape=(data.num_modalities,), dtype=np.float32),
    }


def _raw(shape: tuple[int, ...], dtype: type) -> tfds.features.Tensor:
    """Stored as raw bytes; lists of numbers are several times larger and slower to parse."""
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)


def serialize(features: tfds.features.FeaturesDict, example: Mapping[str, Any]) -> bytes:
    """The record of an example; equal examples have equal bytes."""
    return _sorted(features.serialize_example(example))


class SortedWriter(tfds.core.ExampleWriter):
    """Writes records whose bytes follow from their content."""

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
        return super().write(path, ((key, _sorted(record)) for key, record in examples))


def _sorted(record: bytes) -> bytes:
    """Protocol buffers do not fix the order of a map's entries, and TFDS leaves it to chance."""
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)
