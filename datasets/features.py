"""The features of prepared data sets, the additional features of synthetic ones, and their serialisation."""

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
        "position": tfds.features.Scalar(np.float32),
    }


def synthetic_features(data: DataConfig) -> dict[str, tfds.features.FeatureConnector]:
    """Features of one synthetic slice: those of a real one, its input map and mask, and its provenance.

    `label_transform` has the format of `warping.random_transforms`. `dice` has a value for each modality, or one of the
    joint segmenter.
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
        "dice": tfds.features.Tensor(shape=(None,), dtype=np.float32),
    }


def _raw(shape: tuple[int, ...], dtype: type) -> tfds.features.Tensor:
    """A tensor feature stored as raw bytes; lists of numbers are several times larger and slower to parse."""
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)


def serialize(features: tfds.features.FeaturesDict, example: Mapping[str, Any]) -> bytes:
    """Serialises an example; equal examples have equal bytes."""
    return _sorted(features.serialize_example(example))


class SortedWriter(tfds.core.ExampleWriter):
    """Writes records deterministically: equal content gives equal bytes."""

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
        return super().write(path, ((key, _sorted(record)) for key, record in examples))


def _sorted(record: bytes) -> bytes:
    """Sorts the features, because neither protocol buffers nor TFDS fix the order of map entries."""
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)
