"""Extracts axial slices of the configured size from a case.

Rows run from anterior to posterior and columns from the patient's right to
left, which is the radiological view.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.reading.cases import Case
from mmsynth_tf.reading.scaling import FOREGROUND_MIN, scale


def slice_examples(case: Case, data: DataConfig) -> Iterator[dict[str, Any]]:
    """The slices of a case that show the head, in the order of their index, as examples of the prepared data set.

    Yields:
      image: {modality: float16 [height, width, 1], 0 outside the head and in [1/256, 1] inside}; zeros where missing.
      available: bool [modalities], whether each modality has foreground in this slice.
      label: uint8 [height, width, 1], classes; zeros where missing.
      has_label, case_id, patient_id, slice_index: see the names.
      position: float32, place of the slice along the head: 0 at the lowest slice that shows the head, 1 at the highest.
    """
    for index in range(*data.slices):
        image = {modality: _image_slice(case, modality, index, data) for modality in data.modalities}
        available = np.array([pixels.any() for pixels in image.values()])
        if not available.any():
            continue  # Beyond the head there is nothing to learn.
        yield {
            "image": image,
            "available": available,
            "label": _label_slice(case, index, data),
            "has_label": case.label is not None,
            "case_id": case.case_id,
            "patient_id": case.patient_id,
            "slice_index": index,
            "position": _position(index, case.head_slices),
        }


def _position(index: int, head_slices: tuple[int, int]) -> np.float32:
    lowest, highest = head_slices
    return np.float32((index - lowest) / max(highest - lowest, 1))


def _image_slice(case: Case, modality: str, index: int, data: DataConfig) -> np.ndarray:
    if modality not in case.images:
        return np.zeros((*data.image_size, 1), np.float16)
    pixels = scale(_crop(case.images[modality], index, data), case.ranges[modality])
    return resize_image(pixels, data.image_size).astype(np.float16)[..., None]


def _label_slice(case: Case, index: int, data: DataConfig) -> np.ndarray:
    if case.label is None:
        return np.zeros((*data.image_size, 1), np.uint8)
    return resize_label(_crop(case.label, index, data), data.image_size)[..., None]


def _crop(volume: np.ndarray, index: int, data: DataConfig) -> np.ndarray:
    """Slice `index` of a volume [x, y, z] as rows y and columns x."""
    return volume[slice(*data.crop_columns), slice(*data.crop_rows), index].T


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a scaled slice, by area when shrinking and linearly when enlarging.

    A pixel of the result is inside the head if at least half of it is. Its value
    is the mean over the inside part, so that the head's edge does not darken.

    Args:
      image: float32 [H, W], 0 outside the head and in [1/256, 1] inside.
      size: rows and columns of the result.

    Returns:
      float32 [*size], 0 outside the head and in [1/256, 1] inside.
    """
    if image.shape == size:
        return image
    head = _resize((image > 0).astype(np.float32), size)
    mean = _resize(image, size) / np.maximum(head, 0.5)
    return np.where(head >= 0.5, np.clip(mean, FOREGROUND_MIN, 1.0), 0.0)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a label by majority: a pixel gets the class that covers most of it; the lower class wins ties.

    Args:
      label: uint8 [H, W].
      size: rows and columns of the result.

    Returns:
      uint8 [*size].
    """
    if label.shape == size:
        return np.ascontiguousarray(label)
    if not label.any():
        return np.zeros(size, np.uint8)
    classes = np.flatnonzero(np.bincount(label.ravel())).astype(np.uint8)
    cover = np.stack([_resize((label == c).astype(np.float32), size) for c in classes])
    return classes[np.argmax(cover, axis=0)]


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
