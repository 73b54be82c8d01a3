"""Segments lesions: one label from each available modality, and one from all modalities together."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf.patients import files, jobs, patient
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.stages.segmentation import ensemble


@dataclasses.dataclass(frozen=True)
class Segment:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    `<case>_seg.nii.gz` combines all modalities; `by_modality/` holds the label of each modality.

    Attributes:
      models: with a segmentation stage.
      release: release whose label values are written; canonical classes if not given.

    Raises:
      UserError: the models cannot segment, or the release has no values for their classes.
    """

    models: SliceModels
    release: str = files.CANONICAL

    def __post_init__(self):
        self.models.require(*(f"segment_{name}" for name in self.models.data.modalities))
        files.label_codes(self.release, self.models.data.labels)

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        one = patient.read(case, self.models.data)
        found = {modality: find_classes(one, self.models, modality) for modality in one.case.images}
        name, codes = files.label_name(case), files.label_codes(self.release, self.models.data.labels)
        (folder / "by_modality").mkdir()
        for modality, probabilities in found.items():
            label = to_label(one, probabilities, [modality])
            files.save_label(label, one.grid(modality), folder / "by_modality" / f"{modality}_{name}", codes)
        result = to_label(one, ensemble.scores(list(found.values())), list(found))
        files.save_label(result, one.grid(one.choose(None)), folder / name, codes)
        counts = np.bincount(result.ravel(), minlength=self.models.data.num_classes).tolist()
        return {
            "job": "segment",
            "case": case.case_id,
            "label_values": self.release,
            "voxels": dict(zip(self.models.data.labels, counts, strict=True)),
            "models": self.models.hashes,
        }


def find_classes(one: Patient, models: SliceModels, modality: str) -> np.ndarray:
    """Probabilities of the classes in one modality: float32 [z, height, width, K], 0 where a slice is empty."""
    slices = one.slices(modality)
    probabilities = np.zeros((*slices.shape, models.data.num_classes), np.float32)
    shown = slices.any(axis=(1, 2))
    probabilities[shown] = models.segment(slices[shown], modality)
    return probabilities


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


def own_lesion(
    one: Patient, models: SliceModels, modalities: Sequence[str], background_weight: float | None = None
) -> np.ndarray:
    """The patient's lesion: the case's label, or a segmentation of some modalities if it has none.

    Args:
      one: the patient.
      models: with a segmentation stage.
      modalities: modalities to segment.
      background_weight: see `ensemble.scores`; a small weight includes uncertain lesions.

    Returns:
      uint8 [x, y, z], classes.
    """
    if one.case.label is not None:
        return one.case.label
    probabilities = [find_classes(one, models, modality) for modality in modalities]
    return to_label(one, ensemble.scores(probabilities, background_weight), modalities)
