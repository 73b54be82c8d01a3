"""Pastes real lesions of some patients into the images of another, in three dimensions and all modalities at once."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage

from mmsynth_tf.algorithms import blending
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import files, insertion_check, jobs, lesions, patient
from mmsynth_tf.patients.lesions import Lesion
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles


@dataclasses.dataclass(frozen=True)
class Paste:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    Attributes:
      models: say modalities, classes, scaling and voxel size; a joint segmenter also tries the result.
      donors: cases whose lesions are pasted; each lesion comes from one of another patient and with all of the case's
        modalities.
      count: number of lesions; donors are drawn without repetition while there are enough.
      overlap: lesions may overlap each other, and the case's own lesion.
      move: turn, scale and mirror each lesion and move it to a random place in the head; otherwise the donor's header
        gives the position.
      seed: random seed, combined with the case's name.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.
      release: release whose label values are written.

    Raises:
      UserError: no donor has a label, or the release has no values for the classes.
    """

    models: SliceModels
    donors: Sequence[CaseFiles]
    count: int = 1
    overlap: bool = False
    move: bool = True
    seed: int = 0
    largest: int = 1
    release: str = files.CANONICAL

    def __post_init__(self):
        files.label_codes(self.release, self.models.data.labels)
        if not any(donor.label for donor in self.donors):
            raise UserError("No case of --lesions_from has a label. Give labelled cases.")

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        rng = np.random.default_rng([self.seed, *case.case_id.encode()])
        one = patient.read(case, self.models.data, with_label=True)
        donors = [patient.read(donor, self.models.data, with_label=True) for donor in self._draw_donors(case, rng)]
        found = insertion_check.found_before(one, self.models)
        inserted, placements = zip(*self._place(donors, one, found, rng), strict=True)
        images = dict(self._paste(one, donors, inserted, placements))
        for modality, volume in images.items():
            path = folder / files.image_name(case, modality)
            files.save_image(volume, one.grid(modality), path, self.largest)
        # The images still show the case's own lesion.
        label = lesions.merge([*([] if one.case.label is None else [one.case.label]), *inserted])
        codes = files.label_codes(self.release, self.models.data.labels)
        files.save_label(label, one.grid(next(iter(one.case.images))), folder / files.label_name(case), codes)
        return {
            "job": "insert",
            "case": case.case_id,
            "lesions": placements,
            "drawn_into_own_images": list(images),
            "joint_segmenter": insertion_check.try_result(one, found, images, inserted, self.models),
            "seed": self.seed,
            "label_values": self.release,
            "range": [0, self.largest],
            "models": self.models.hashes,
        }

    def _draw_donors(self, case: CaseFiles, rng: np.random.Generator) -> list[CaseFiles]:
        others = [donor for donor in self.donors if donor.label and donor.patient_id != case.patient_id]
        fitting = [donor for donor in others if set(case.images) <= set(donor.images)]
        if not fitting:
            raise UserError(
                f"Case {case.case_id}: no labelled case of another patient in --lesions_from has "
                f"{', '.join(case.images)}. Give more cases."
            )
        return [fitting[index] for index in rng.choice(len(fitting), self.count, replace=self.count > len(fitting))]

    def _place(
        self, donors: Sequence[Patient], one: Patient, found: np.ndarray | None, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, dict[str, Any]]]:
        """Each donor's label on the patient's grid, with the map from the patient's indices to the donor's."""
        chosen = [Lesion(donor.case.label, donor.case.affine, donor.case.case_id) for donor in donors]
        for lesion in chosen:
            if not lesion.label.any():
                raise UserError(f"The label of case {lesion.source} in --lesions_from is empty. Leave that case out.")
        head = np.logical_and.reduce([one.head(modality) for modality in one.case.images])
        taken = None if self.overlap else insertion_check.taken(one, found)
        return lesions.put(chosen, one.case.affine, head, taken, rng, move=self.move)

    def _paste(
        self,
        one: Patient,
        donors: Sequence[Patient],
        inserted: Sequence[np.ndarray],
        placements: Sequence[Mapping[str, Any]],
    ) -> Iterator[tuple[str, np.ndarray]]:
        """The patient's modalities with the lesions, float32 [x, y, z] in [0, 1]."""
        pixels = one.voxels_in_pixels(self.models.data)
        for modality in one.case.images:
            volume = one.scaled(modality)
            for donor, label, placement in zip(donors, inserted, placements, strict=True):
                matrix, offset = np.array(placement["matrix"]), np.array(placement["offset"])
                moved = scipy.ndimage.affine_transform(
                    donor.scaled(modality), matrix, offset, output_shape=volume.shape, order=1
                )
                volume = blending.blend(volume, moved, label > 0, pixels)
            yield modality, volume
