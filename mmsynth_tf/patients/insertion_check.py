"""Tests inserted lesions by the joint segmenter: whether it finds them, and what else it finds that was not there."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsynth_tf.metrics import segmentation
from mmsynth_tf.patients import segment
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.scaling import IntensityRange

# Results are scaled already.
_SCALED = IntensityRange(background=0.0, low=0.0, high=1.0)


def found_before(one: Patient, models: SliceModels) -> np.ndarray | None:
    """The lesion that the joint segmenter finds in a patient, uint8 [x, y, z]; None if the models have none."""
    if not models.joint:
        return None
    # Lesions may be inserted at any height, and what is false beyond the training slices is so before and after.
    return segment.found_lesion(one, models, list(one.case.images), keep_beyond=True)


def taken(one: Patient, found: np.ndarray | None) -> np.ndarray:
    """Where the patient has a lesion of its own, by its label or else as found: bool [x, y, z]."""
    own = found if one.case.label is None else one.case.label
    shape = next(iter(one.case.images.values())).shape
    return np.zeros(shape, bool) if own is None else own > 0


def try_result(
    one: Patient,
    before: np.ndarray | None,
    images: Mapping[str, np.ndarray],
    inserted: Sequence[np.ndarray],
    models: SliceModels,
) -> dict[str, Any] | None:
    """Segments the result of an insertion and compares it with the inserted lesions.

    Args:
      one: the patient, without the lesions.
      before: the lesion that the joint segmenter found in the patient, uint8 [x, y, z]; None without such a segmenter.
      images: the result, float32 [x, y, z] in [0, 1] by modality, 0 outside the head.
      inserted: the lesions, uint8 [x, y, z] each.
      models: with the joint segmenter.

    Returns:
      The entry of the record, as `compare` describes it, with the modalities that were given; None without a joint
      segmenter.
    """
    if before is None:
        return None
    case = dataclasses.replace(one.case, images=images, ranges=dict.fromkeys(images, _SCALED))
    after = segment.found_lesion(dataclasses.replace(one, case=case), models, list(images), keep_beyond=True)
    return {"given": list(images), **compare(inserted, before, after, segment.voxel_ml(one))}


def compare(inserted: Sequence[np.ndarray], before: np.ndarray, after: np.ndarray, voxel_ml: float) -> dict[str, Any]:
    """Compares what a segmenter finds after an insertion with what it found before.

    What it found before counts only where a lesion was inserted. Of the rest, a connected part that touches an inserted
    lesion is that lesion as found, and other parts are new elsewhere.

    Args:
      inserted: lesions, integer [x, y, z] each, 0 outside.
      before: found before the insertion, same shape.
      after: found after it, same shape.
      voxel_ml: volume of a voxel, ml.

    Returns:
      `dice`: of each inserted lesion, 0 if it is missed; `new_elsewhere_ml`: volume of the other parts.
    """
    whole = np.logical_or.reduce([label > 0 for label in inserted])
    parts = segment.lesion_parts((after > 0) & ((before == 0) | whole))
    elsewhere, dice = np.ones(parts.max() + 1, bool), []
    elsewhere[0] = False
    for label in inserted:
        touched = np.zeros_like(elsewhere)
        touched[parts[label > 0]] = True
        touched[0] = False
        dice.append(round(segmentation.dice(label > 0, touched[parts]), 4))
        elsewhere &= ~touched
    return {"dice": dice, "new_elsewhere_ml": round(float(np.count_nonzero(elsewhere[parts])) * voxel_ml, 3)}
