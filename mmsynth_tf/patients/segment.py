"""Segments lesions: a label from each modality that a patient has, and their vote."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf.patients import batch, files, patient
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles


@dataclasses.dataclass(frozen=True)
class Segment:
    """The job for one case; call it with the case's files and a folder (see `batch.for_each`).

    `<case>_seg.nii.gz` is the vote, `by_modality/` holds what was voted on.

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

    def __call__(self, case: CaseFiles, folder: Path) -> batch.Record:
        one = patient.read(case, self.models.data)
        labels = {modality: find_lesion(one, self.models, modality) for modality in one.case.images}
        result = vote(list(labels.values()), self.models.data.num_classes)
        name, codes = files.label_name(case), files.label_codes(self.release, self.models.data.labels)
        (folder / "by_modality").mkdir()
        for modality, label in labels.items():
            files.save_label(label, one.grid(modality), folder / "by_modality" / f"{modality}_{name}", codes)
        files.save_label(result, one.grid(one.choose(None)), folder / name, codes)
        counts = np.bincount(result.ravel(), minlength=self.models.data.num_classes).tolist()
        return {
            "job": "segment",
            "case": case.case_id,
            "label_values": self.release,
            "voxels": dict(zip(self.models.data.labels, counts, strict=True)),
            "models": self.models.hashes,
        }


def find_lesion(one: Patient, models: SliceModels, modality: str) -> np.ndarray:
    """The lesion as one modality shows it: uint8 [x, y, z], classes, inside the head."""
    slices, head = one.slices(modality), one.head(modality)
    label = np.zeros(head.shape, np.uint8)
    shown = np.flatnonzero(slices.any(axis=(1, 2)))
    probabilities = models.segment(slices[shown], modality)
    for index, classes in zip(shown, np.moveaxis(probabilities, -1, 1), strict=True):
        # Interpolation between pixels that are all background gives background.
        if np.argmax(classes, axis=0).any():
            label[..., index] = np.argmax(one.view.to_volume(classes), axis=-1)
    label[~head] = 0
    return label


def own_lesion(one: Patient, models: SliceModels, modalities: Sequence[str]) -> np.ndarray:
    """The patient's lesion: its label, or without one what is found in these modalities; uint8 [x, y, z], classes."""
    if one.case.label is not None:
        return one.case.label
    return vote([find_lesion(one, models, modality) for modality in modalities], models.data.num_classes)


def vote(labels: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """The class that most labels give each voxel, uint8; background where several classes have as many.

    Args:
      labels: uint8 arrays of one shape, classes.
      num_classes: K.
    """
    result = np.zeros(labels[0].shape, np.uint8)
    disputed = np.logical_or.reduce([label > 0 for label in labels])
    voices = np.stack([label[disputed] for label in labels])
    counts = np.stack([np.sum(voices == c, axis=0) for c in range(num_classes)])
    most = counts.max(axis=0)
    result[disputed] = np.where(np.sum(counts == most, axis=0) == 1, counts.argmax(axis=0), 0)
    return result
