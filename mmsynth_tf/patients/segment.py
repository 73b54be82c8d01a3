"""Segments lesions from all available modalities together, by the joint segmenter if the models have one.

Models without it have the paper's segmenters, one for each modality. Their results are combined.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import scipy.ndimage

from mmsynth_tf.patients import files, jobs, patient
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.stages.segmentation import ensemble

_log = logging.getLogger(__name__)

# Voxels that share a face, an edge or a corner belong to one lesion.
_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclasses.dataclass(frozen=True)
class Segment:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    `<case>_seg.nii.gz` is the label from all modalities. Without a joint segmenter, `by_modality/` holds the label of
    each modality.

    Attributes:
      models: with a joint segmenter, or a segmentation stage.
      release: release whose label values are written; canonical classes if not given.
      min_volume: connected lesions of a smaller volume are dropped, ml. By default none: on six validation patients it
        gained at most 0.002 of Dice, and small lesions may be true.
      keep_beyond: also write lesions that `reaching` drops.

    Raises:
      UserError: the models cannot segment, or the release has no values for their classes.
    """

    models: SliceModels
    release: str = files.CANONICAL
    min_volume: float = 0.0
    keep_beyond: bool = False

    def __post_init__(self):
        if not self.models.joint:
            self.models.require(*(f"segment_{name}" for name in self.models.data.modalities))
        files.label_codes(self.release, self.models.data.labels)

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        one = patient.read(case, self.models.data)
        name, codes = files.label_name(case), files.label_codes(self.release, self.models.data.labels)
        given = list(one.case.images)
        if self.models.joint:
            scores = find_jointly(one, self.models, given)
        else:
            found = {modality: find_classes(one, self.models, modality) for modality in given}
            scores = ensemble.scores(list(found.values()))
            self._save_by_modality(one, found, folder / "by_modality", name, codes)
        label, trained = to_label(one, scores, given), trained_slices(one, self.models)
        result = label if self.keep_beyond else np.where(reaching(label, trained), label, 0).astype(np.uint8)
        beyond_ml = np.count_nonzero(result != label) * voxel_ml(one)
        result, dropped = without_small(result, voxel_ml(one), self.min_volume)
        files.save_label(result, one.grid(one.choose(None)), folder / name, codes)
        counts = np.bincount(result.ravel(), minlength=self.models.data.num_classes).tolist()
        return {
            "job": "segment",
            "case": case.case_id,
            "found_in": given,
            "label_values": self.release,
            "voxels": dict(zip(self.models.data.labels, counts, strict=True)),
            "min_volume": self.min_volume,
            "dropped_lesions": dropped,
            "outside_training": _outside_training(one, result, trained, beyond_ml),
            "models": self.models.hashes,
        }

    def _save_by_modality(
        self, one: Patient, found: Mapping[str, np.ndarray], folder: Path, name: str, codes: Mapping[int, int]
    ) -> None:
        folder.mkdir()
        for modality, probabilities in found.items():
            label = to_label(one, probabilities, [modality])
            files.save_label(label, one.grid(modality), folder / f"{modality}_{name}", codes)


def find_jointly(one: Patient, models: SliceModels, modalities: Sequence[str]) -> np.ndarray:
    """Probabilities of the classes from several modalities by the joint segmenter, as `find_classes` gives them."""
    slices = {modality: one.slices(modality) for modality in modalities}
    shown = np.logical_or.reduce([volume.any(axis=(1, 2)) for volume in slices.values()])
    return _where_shown(shown, models.segment({name: volume[shown] for name, volume in slices.items()}))


def find_classes(one: Patient, models: SliceModels, modality: str) -> np.ndarray:
    """Probabilities of the classes in one modality: float32 [z, height, width, K], 0 where a slice is empty."""
    slices = one.slices(modality)
    shown = slices.any(axis=(1, 2))
    return _where_shown(shown, models.segment_one(slices[shown], modality))


def _where_shown(shown: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Puts the results of the slices that are not empty in their places."""
    whole = np.zeros((len(shown), *probabilities.shape[1:]), np.float32)
    whole[shown] = probabilities
    return whole


def to_label(one: Patient, scores: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
    """The class with the highest score at each voxel inside the head.

    Args:
      one: the patient.
      scores: class scores, float32 [z, height, width, K], for instance a sum of probabilities.
      modalities: the head is the union of these modalities' heads.

    Returns:
      uint8 [x, y, z], classes.
    """
    head = np.logical_or.reduce([one.head(modality) for modality in modalities])
    label = np.zeros(head.shape, np.uint8)
    for index, classes in enumerate(np.moveaxis(scores, -1, 1)):
        # Slices with background only stay background after interpolation.
        if np.argmax(classes, axis=0).any():
            label[..., index] = np.argmax(one.view.to_volume(classes), axis=-1)
    return np.where(head, label, 0).astype(np.uint8)


def trained_slices(one: Patient, models: SliceModels) -> np.ndarray:
    """Which slices of the patient lie at the height of the segmenter's training slices: bool [z]."""
    count = next(iter(one.case.images.values())).shape[2]
    return at_height(count, one.slice_spacing / models.data.voxel_mm[0], models.segmented_slices)


def at_height(count: int, step: float, slices: Sequence[int]) -> np.ndarray:
    """Which slices of a volume lie at the height of others: bool [count]. Heights count from the lowest slice.

    Args:
      count: number of slices.
      step: their distance, in slices of the other volume.
      slices: first and last (not included) of the other slices, perhaps followed by their step.
    """
    height = np.arange(count) * step
    return (height > slices[0] - 1) & (height < slices[1])


def _outside_training(one: Patient, label: np.ndarray, trained: np.ndarray, dropped_ml: float) -> dict[str, Any]:
    """The record of the slices of the head that no training slice resembles by its height; it is logged, too."""
    head = np.logical_or.reduce([one.head(modality).any(axis=(0, 1)) for modality in one.case.images])
    lesion = np.count_nonzero(label, axis=(0, 1))
    share = float(lesion[~trained].sum() / lesion.sum()) if lesion.any() else 0.0
    spans = _spans(head & ~trained)
    if spans:
        text = ", ".join(f"{first} to {last}" for first, last in spans)
        _log.info(
            "Case %s: no training slice lies at the height of slices %s. %.0f%% of the lesion is there. "
            "Lesions that lie there as a whole were dropped: %.1f ml (see --keep_beyond).",
            *(one.case.case_id, text, 100 * share, dropped_ml),
        )
    return {"slices": spans, "share_of_lesion": round(share, 4), "dropped_ml": round(dropped_ml, 3)}


def _spans(chosen: np.ndarray) -> list[list[int]]:
    """First and last index of each run of True in a bool [n]."""
    edges = np.flatnonzero(np.diff(np.pad(chosen.astype(np.int8), 1)))
    return [[int(start), int(stop) - 1] for start, stop in edges.reshape(-1, 2)]


def voxel_ml(one: Patient) -> float:
    """Volume of the patient's voxels, ml."""
    return float(np.prod(nibabel.affines.voxel_sizes(one.case.affine))) / 1000


def lesion_parts(label: np.ndarray) -> np.ndarray:
    """Numbers the connected lesions of a label [x, y, z], from 1: int32 [x, y, z], 0 outside lesions."""
    parts, lesion = np.zeros(label.shape, np.int32), label > 0
    # Lesions are a small part of a volume: the box around them takes a fraction of the time.
    for box in scipy.ndimage.find_objects(lesion.astype(np.uint8)):
        parts[box] = scipy.ndimage.label(lesion[box], _NEIGHBOURS)[0]
    return parts


def without_small(label: np.ndarray, voxel_volume: float, least: float) -> tuple[np.ndarray, int]:
    """Drops connected lesions below a volume; classes of a lesion belong together.

    Args:
      label: uint8 [x, y, z], 0 outside lesions.
      voxel_volume: volume of a voxel.
      least: smallest volume that is kept, in the same unit; 0 keeps all.

    Returns:
      The label without the small lesions, and their number.
    """
    if not least:
        return label, 0
    parts = lesion_parts(label)
    small = np.bincount(parts.ravel()) * voxel_volume < least
    small[0] = False  # Outside lesions.
    return np.where(small[parts], 0, label).astype(label.dtype), int(np.count_nonzero(small))


def reaching(label: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which voxels belong to a connected lesion that reaches a slice at the height of training slices.

    The others are mostly false, because the segmenter never saw the base of the skull or the crown. On six validation
    patients, with segmenters of slices 50 to 104 of 155, their removal raised the mean Dice of the whole tumour in the
    whole head from 0.61 to 0.74 (core 0.57 to 0.71, enhancing 0.57 to 0.69; at the models' 64x64 pixels).

    Args:
      label: integer [x, y, z], 0 outside lesions.
      trained: bool [z], see `trained_slices`.

    Returns:
      bool [x, y, z].
    """
    parts = lesion_parts(label)
    reached = np.zeros(parts.max() + 1, bool)
    reached[parts[..., trained]] = True
    reached[0] = False
    return reached[parts]


def found_lesion(one: Patient, models: SliceModels, modalities: Sequence[str], keep_beyond: bool = False) -> np.ndarray:
    """The lesion that the joint segmenter finds in some modalities, as `Segment` does: uint8 [x, y, z], classes."""
    label = to_label(one, find_jointly(one, models, modalities), modalities)
    if keep_beyond:
        return label
    return np.where(reaching(label, trained_slices(one, models)), label, 0).astype(np.uint8)


def own_lesion(one: Patient, models: SliceModels, modalities: Sequence[str]) -> np.ndarray:
    """The patient's lesion: the case's label, or a segmentation of some modalities if it has none.

    Args:
      one: the patient.
      models: with a joint segmenter, or a segmentation stage.
      modalities: modalities to segment.

    Returns:
      uint8 [x, y, z], classes.
    """
    if one.case.label is not None:
        return one.case.label
    if models.joint:
        return found_lesion(one, models, modalities)
    probabilities = [find_classes(one, models, modality) for modality in modalities]
    return to_label(one, ensemble.scores(probabilities), modalities)
