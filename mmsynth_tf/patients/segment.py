"""Segments lesions: a label from each modality that a patient has, and one from all of them."""

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

    `<case>_seg.nii.gz` is what the modalities show together, `by_modality/` what each shows by itself.

    Attributes:
      models: with a segmentation stage.
      release: whose label values to write; canonical classes if not given.

    Raises:
      UserError: the models cannot segment, or the release has no codes for their classes.
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
      scores: of the classes, float32 [z, height, width, K], for instance a sum of probabilities.
      modalities: whose heads count, as far as any of them shows it.

    Returns:
      uint8 [x, y, z], classes.
    """
    head = np.logical_or.reduce([one.head(modality) for modality in modalities])
    label = np.zeros(head.shape, np.uint8)
    for index, classes in enumerate(np.moveaxis(scores, -1, 1)):
        # Interpolation between pixels that are all background gives background.
        if np.argmax(classes, axis=0).any():
            label[..., index] = np.argmax(one.view.to_volume(classes), axis=-1)
    return np.where(head, label, 0).astype(np.uint8)


def own_lesion(
    one: Patient, models: SliceModels, modalities: Sequence[str], background_weight: float | None = None
) -> np.ndarray:
    """The patient's lesion: its label, or without one what is found in some modalities.

    Args:
      one: the patient.
      models: with a segmentation stage.
      modalities: to be looked at.
      background_weight: see `ensemble.scores`; a small one finds what is uncertain, too.

    Returns:
      uint8 [x, y, z], classes.
    """
    if one.case.label is not None:
        return one.case.label
    probabilities = [find_classes(one, models, modality) for modality in modalities]
    return to_label(one, ensemble.scores(probabilities, background_weight), modalities)
