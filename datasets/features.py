"""The features that every prepared data set has, and those that synthetic ones add."""

import numpy as np
import tensorflow_datasets as tfds

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
    """Features of one synthetic slice: those of a real one, the map and mask it was made from, and its provenance."""
    size = (*data.image_size, 1)
    return slice_features(data) | {
        "structure": _raw(size, np.uint8),
        "background": _raw(size, np.uint8),
        "seed": tfds.features.Scalar(np.int64),
        "label_source": tfds.features.Text(),
        "label_transform": tfds.features.Tensor(shape=(8,), dtype=np.float32),
        "mask_error": tfds.features.Scalar(np.float32),
        "dice": tfds.features.Tensor(shape=(data.num_modalities,), dtype=np.float32),
    }


def _raw(shape: tuple[int, ...], dtype: type) -> tfds.features.Tensor:
    """Stored as raw bytes; lists of numbers are several times larger and slower to parse."""
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)
