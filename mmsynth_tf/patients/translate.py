"""Translates whole volumes of a patient's modalities to the missing modalities.

All axial slices are translated. Outside the range of the training slices, the
result is an extrapolation.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import consistency, detail, files, jobs, patient, segment
from mmsynth_tf.patients.detail import GivenModality
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.stages.segmentation import ensemble
from mmsynth_tf.stages.synthesis import translation

# File beside the results: the probability at each voxel that they are wrong about there being a lesion.
UNCERTAINTY = "lesion_uncertainty"


@dataclasses.dataclass(frozen=True)
class DrawnLesion:
    """The lesion that all results of a case show.

    Attributes:
      label: uint8 [z, height, width], classes.
      uncertainty: float32 [z, height, width] in [0, 1]; None if the lesion is the case's label.
      origin: where it comes from, for the record.
    """

    label: np.ndarray
    uncertainty: np.ndarray | None
    origin: str


@dataclasses.dataclass(frozen=True)
class Translate:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    Attributes:
      models: with a synthesis stage.
      sources: modalities to translate from; all that the case has, except targets, if not given.
      targets: modalities to translate to; the case's missing modalities if not given.
      smooth: make neighbouring slices consistent.
      blur: standard deviation of a Gaussian across slices, mm; used with `smooth`.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.

    Raises:
      UserError: the models cannot translate.
    """

    models: SliceModels
    sources: Sequence[str] = ()
    targets: Sequence[str] = ()
    smooth: bool = True
    blur: float = constants.TRANSLATED_BLUR
    largest: int = 1

    def __post_init__(self):
        self.models.require("translate")

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        targets = self._choose_targets(case)
        one = patient.read(case, self.models.data, with_label=self.models.translate_labels)
        sources = self._choose_sources(one, targets)
        given = {name: GivenModality.of(one, name) for name in sources}
        lesion = find_lesion(one, self.models, sources) if self.models.translate_labels else None
        if lesion and lesion.uncertainty is not None:
            self._save_uncertainty(one, lesion.uncertainty, sources, folder)
        roughness = {name: consistency.roughness(modality.slices) for name, modality in given.items()}
        for target in targets:
            made = self.translate({name: modality.slices for name, modality in given.items()}, target, lesion)
            roughness[f"{target} as translated"] = consistency.roughness(made)
            if self.smooth:
                made = consistency.smooth(made, one.slice_spacing, self.blur)
                roughness[f"{target} smoothed"] = consistency.roughness(made)
            result = detail.to_volume(made, given.values(), lesion and lesion.label, one.view, self.models.guide_radius)
            files.save_image(result, one.grid(sources[0]), folder / files.image_name(case, target), self.largest)
        return {
            "job": "translate",
            "case": case.case_id,
            "sources": sources,
            "targets": list(targets),
            "lesion": lesion and lesion.origin,
            "least_lesion_probability": translation.SURE if lesion and lesion.uncertainty is not None else None,
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

    def _choose_sources(self, one: Patient, targets: Sequence[str]) -> list[str]:
        case_id = one.case.case_id
        for name in self.sources:
            if one.choose(name) in targets:
                raise UserError(f"Case {case_id}: {name} is both source and target. Leave it out of --source.")
        sources = list(self.sources) or [name for name in one.case.images if name not in targets]
        if not sources:
            raise UserError(
                f"Case {case_id}: all its modalities ({', '.join(one.case.images)}) are targets. Leave one out of "
                "--targets, to translate from."
            )
        return sources

    def _save_uncertainty(self, one: Patient, uncertainty: np.ndarray, sources: Sequence[str], folder: Path) -> None:
        head = np.logical_or.reduce([one.head(name) for name in sources])
        volume = np.where(head, np.clip(one.view.to_volume(uncertainty), 0.0, 1.0), np.float32(0.0))
        path = folder / f"{one.files.case_id}_{UNCERTAINTY}.nii.gz"
        files.save_image(volume, one.grid(sources[0]), path, what="uncertainty of lesion")

    def translate(self, slices: Mapping[str, np.ndarray], target: str, lesion: DrawnLesion | None) -> np.ndarray:
        """Translates slices float32 [z, H, W] independently to another modality; empty slices are skipped.

        Args:
          slices: registered slices by modality.
          target: modality to translate to.
          lesion: the lesion to draw; None if the models take no label.
        """
        shown = np.logical_or.reduce([volume.any(axis=(1, 2)) for volume in slices.values()])
        made = np.zeros_like(next(iter(slices.values())))
        seen = {name: volume[shown] for name, volume in slices.items()}
        made[shown] = self.models.translate(seen, target, lesion and lesion.label[shown])
        return made


def find_lesion(one: Patient, models: SliceModels, modalities: Sequence[str]) -> DrawnLesion:
    """The lesion to draw: the case's label, or else what the segmenter is sure of in the given modalities."""
    if one.case.label is not None:
        return DrawnLesion(one.view.label_slices(one.case.label), None, "the case's label")
    probabilities = lesion_probabilities(one, models, modalities)
    label = sure_lesion(one, models, probabilities)
    where = f"found in {', '.join(modalities)}"
    if not models.joint:
        where += " by the segmenters of single modalities, because the models have no joint segmenter"
    return DrawnLesion(label, translation.uncertainty(probabilities, label), where)


def lesion_probabilities(one: Patient, models: SliceModels, modalities: Sequence[str]) -> np.ndarray:
    """Probabilities of the classes from some modalities, float32 [z, height, width, K], 0 in empty slices.

    They are those of the joint segmenter, or else of the segmenters of single modalities together.
    """
    if models.joint:
        return segment.find_jointly(one, models, modalities)
    scores = ensemble.scores([segment.find_classes(one, models, modality) for modality in modalities])
    return scores / np.maximum(scores.sum(axis=-1, keepdims=True), 1e-6)


def sure_lesion(
    one: Patient, models: SliceModels, probabilities: np.ndarray, sure: float = translation.SURE
) -> np.ndarray:
    """The lesion that is sure and reaches the height of a training slice: uint8 [z, height, width]."""
    label = translation.sure_lesion(probabilities, models.data, sure)
    reached = segment.reaching(np.moveaxis(label, 0, -1), segment.trained_slices(one, models))
    return np.where(np.moveaxis(reached, -1, 0), label, 0).astype(np.uint8)
