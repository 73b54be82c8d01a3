"""Translates whole volumes of a patient's modality to the missing modalities.

All axial slices are translated. Outside the range of the training slices, the
result is an extrapolation.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import consistency, detail, files, jobs, patient, segment
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.stages.synthesis.translation import BACKGROUND_WEIGHT


@dataclasses.dataclass(frozen=True)
class Translate:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    Attributes:
      models: with a synthesis stage.
      source: modality to translate from; the case's first if not given.
      targets: modalities to translate to; the case's missing modalities if not given.
      smooth: make neighbouring slices consistent.
      blur: standard deviation of a Gaussian across slices, mm; used with `smooth`.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.

    Raises:
      UserError: the models cannot translate.
    """

    models: SliceModels
    source: str | None = None
    targets: Sequence[str] = ()
    smooth: bool = True
    blur: float = constants.TRANSLATED_BLUR
    largest: int = 1

    def __post_init__(self):
        self.models.require("translate")

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        targets = self._choose_targets(case)
        one = patient.read(case, self.models.data, with_label=self.models.translate_labels)
        source = one.choose(self.source)
        if source in targets:
            raise UserError(
                f"Case {case.case_id}: {source} is both source and target. Name another modality with --source."
            )
        slices, volume = one.slices(source), one.scaled(source)
        lesion, found_in = self._lesion(one, targets)
        radius = self.models.guide_radius
        lost = detail.lost(volume, slices, one.view) if radius else None
        roughness = {source: consistency.roughness(slices)}
        for target in targets:
            made = self.translate(slices, target, lesion)
            roughness[f"{target} as translated"] = consistency.roughness(made)
            if self.smooth:
                made = consistency.smooth(made, one.slice_spacing, self.blur)
                roughness[f"{target} smoothed"] = consistency.roughness(made)
            result = one.view.image_volume(made, volume > 0)
            if radius:
                result = detail.restored(result, lost, made, slices, lesion, one.view, radius)
            files.save_image(result, one.grid(source), folder / files.image_name(case, target), self.largest)
        return {
            "job": "translate",
            "case": case.case_id,
            "source": source,
            "targets": list(targets),
            "lesion": found_in,
            "smooth": self.smooth,
            "blur": self.blur,
            "range": [0, self.largest],
            "roughness": roughness,
            "models": self.models.hashes,
        }

    def _choose_targets(self, case: CaseFiles) -> Sequence[str]:
        targets = self.targets or [name for name in self.models.data.modalities if name not in case.images]
        if not targets:
            raise UserError(
                f"Case {case.case_id} lacks no modality ({', '.join(case.images)}). Name the modalities to generate "
                "with --targets."
            )
        return targets

    def _lesion(self, one: Patient, targets: Sequence[str]) -> tuple[np.ndarray | None, str | None]:
        """The lesion to draw, uint8 [z, H, W], and its origin; None if the models take no label."""
        if not self.models.translate_labels:
            return None, None
        # Do not use a target modality, even if the case has it.
        shown = [modality for modality in one.case.images if modality not in targets]
        lesion = segment.own_lesion(one, self.models, shown, BACKGROUND_WEIGHT)
        where = f"found in {', '.join(shown)}" if one.case.label is None else "the case's label"
        return one.view.label_slices(lesion), where

    def translate(self, slices: np.ndarray, target: str, lesion: np.ndarray | None) -> np.ndarray:
        """Translates slices float32 [z, H, W] independently to another modality; empty slices are skipped.

        Args:
          slices: slices of any modality.
          target: modality to translate to.
          lesion: uint8 [z, H, W], classes; None if the models take no label.
        """
        shown, made = slices.any(axis=(1, 2)), np.zeros_like(slices)
        made[shown] = self.models.translate(slices[shown], target, None if lesion is None else lesion[shown])
        return made
