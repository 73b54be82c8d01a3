"""Pastes a real lesion of one patient into the images of another, in three dimensions and all modalities at once."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import scipy.ndimage

from mmsynth_tf.algorithms import blending
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, jobs, lesions, patient
from mmsynth_tf.patients.lesions import Lesion
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.reading.releases import CaseFiles


@dataclasses.dataclass(frozen=True)
class Paste:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    Attributes:
      data: modalities, classes, scaling and voxel size.
      donors: cases whose lesions are pasted; one is drawn for each case, of another patient and with all of the
        case's modalities.
      move: turn, scale and mirror the lesion and move it to a random place in the head; otherwise the donor's header
        gives the position.
      seed: random seed, combined with the case's name.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.
      release: release whose label values are written.

    Raises:
      UserError: no donor has a label, or the release has no values for the classes.
    """

    data: DataConfig
    donors: Sequence[CaseFiles]
    move: bool = True
    seed: int = 0
    largest: int = 1
    release: str = files.CANONICAL

    def __post_init__(self):
        files.label_codes(self.release, self.data.labels)
        if not any(donor.label for donor in self.donors):
            raise UserError("No case of --lesions_from has a label. Give labelled cases.")

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        rng = np.random.default_rng([self.seed, *case.case_id.encode()])
        one = patient.read(case, self.data, with_label=True)
        donor = patient.read(self._draw_donor(case, rng), self.data, with_label=True)
        head = np.logical_and.reduce([one.head(modality) for modality in one.case.images])
        label, placement = self._place(donor, one, head, rng)
        matrix, offset = np.array(placement["matrix"]), np.array(placement["offset"])
        for modality in one.case.images:
            moved = scipy.ndimage.affine_transform(
                donor.scaled(modality), matrix, offset, output_shape=head.shape, order=1
            )
            volume = blending.blend(one.scaled(modality), moved, label > 0, one.voxels_in_pixels(self.data))
            path = folder / files.image_name(case, modality)
            files.save_image(volume, one.grid(modality), path, self.largest)
        if one.case.label is not None:
            # The images still show the case's own lesion.
            label = np.where(label > 0, label, one.case.label)
        codes = files.label_codes(self.release, self.data.labels)
        files.save_label(label, one.grid(next(iter(one.case.images))), folder / files.label_name(case), codes)
        return {
            "job": "insert",
            "case": case.case_id,
            "pasted": placement,
            "drawn_into_own_images": list(one.case.images),
            "seed": self.seed,
            "label_values": self.release,
            "range": [0, self.largest],
        }

    def _draw_donor(self, case: CaseFiles, rng: np.random.Generator) -> CaseFiles:
        others = [donor for donor in self.donors if donor.label and donor.patient_id != case.patient_id]
        fitting = [donor for donor in others if set(case.images) <= set(donor.images)]
        if not fitting:
            raise UserError(
                f"Case {case.case_id}: no labelled case of another patient in --lesions_from has "
                f"{', '.join(case.images)}. Give more cases."
            )
        return fitting[rng.integers(len(fitting))]

    def _place(
        self, donor: Patient, one: Patient, head: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The donor's label on the patient's grid, and the map from the patient's indices to the donor's."""
        lesion = Lesion(donor.case.label, donor.case.affine, donor.case.case_id)
        if not lesion.label.any():
            raise UserError(f"The label of case {lesion.source} in --lesions_from is empty. Leave that case out.")
        if self.move:
            return lesions.place(lesion, head, nibabel.affines.voxel_sizes(one.case.affine), rng)
        to_donor = np.linalg.inv(lesion.affine) @ one.case.affine
        label = lesions.at_its_place(lesion, one.case.affine, head)
        return label, {"source": lesion.source, "matrix": to_donor[:3, :3].tolist(), "offset": to_donor[:3, 3].tolist()}
