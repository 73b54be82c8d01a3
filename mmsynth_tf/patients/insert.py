"""Inserts a synthetic lesion, generated from the patient's structure map and a label, into the patient's images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import blending, fusion, structure_maps
from mmsynth_tf.patients import consistency, files, jobs, lesions, patient, segment
from mmsynth_tf.patients.patient import Patient
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.release_table import Release
from mmsynth_tf.reading.releases import CaseFiles


@dataclasses.dataclass(frozen=True)
class Insert:
    """The job for one case; call it with the case's files and a folder (see `jobs.for_each`).

    Attributes:
      models: with a synthesis stage.
      labels: label files to draw from, with the release of their values (see `lesions.find`).
      move: move and warp the label to a random place in the head; otherwise its header gives the position.
      source: modality from which the structure map is extracted; the case's first modality if not given.
      remove_lesion: replace the case's own lesion, given by its label or segmented by the models, with tissue.
      redraw: synthesise the whole images; otherwise only the lesion changes.
      seed: random seed, combined with the case's name.
      smooth: make neighbouring slices consistent.
      blur: standard deviation of a Gaussian across slices, mm; used with `smooth`.
      largest: value of the brightest voxel; 1 writes float32, a larger value int16.
      release: release whose label values are written.

    Raises:
      UserError: the models cannot synthesise, or the release has no values for their classes.
    """

    models: SliceModels
    labels: Sequence[tuple[Path, Release]]
    move: bool = True
    source: str | None = None
    remove_lesion: bool = False
    redraw: bool = False
    seed: int = 0
    smooth: bool = True
    blur: float = constants.SYNTHESISED_BLUR
    largest: int = 1
    release: str = files.CANONICAL

    def __post_init__(self):
        self.models.require("synthesize")
        files.label_codes(self.release, self.models.data.labels)

    def __call__(self, case: CaseFiles, folder: Path) -> jobs.Record:
        rng = np.random.default_rng([self.seed, *case.case_id.encode()])
        one = patient.read(case, self.models.data, with_label=self.remove_lesion or not self.redraw)
        source = one.choose(self.source)
        label, placement = self._choose_label(one, one.head(source), rng)
        changed, removed = label > 0, None
        if self.remove_lesion:
            removed = segment.own_lesion(one, self.models, list(one.case.images))
            changed |= removed > 0
        elif not self.redraw and one.case.label is not None:
            # The images still show the case's own lesion.
            label = np.where(changed, label, one.case.label)
        kept = [] if self.redraw else list(one.case.images)
        for modality, slices in self.synthesize(one, source, label, removed, rng).items():
            if self.smooth:
                slices = consistency.smooth(slices, one.slice_spacing, self.blur)
            volume = one.view.image_volume(slices, one.head(source))
            if modality in kept:
                volume = blending.blend(one.scaled(modality), volume, changed, one.voxels_in_pixels(self.models.data))
            files.save_image(volume, one.grid(source), folder / files.image_name(case, modality), self.largest)
        codes = files.label_codes(self.release, self.models.data.labels)
        files.save_label(label, one.grid(source), folder / files.label_name(case), codes)
        return {
            "job": "insert",
            "case": case.case_id,
            "source": source,
            "label": placement,
            "own_lesion_removed": self.remove_lesion,
            "drawn_into_own_images": kept,
            "seed": self.seed,
            "label_values": self.release,
            "smooth": self.smooth,
            "blur": self.blur,
            "range": [0, self.largest],
            "models": self.models.hashes,
        }

    def _choose_label(
        self, one: Patient, head: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Chooses a label on the patient's grid, and returns it with its origin."""
        path, release = self.labels[rng.integers(len(self.labels))]
        lesion = lesions.read(path, release, self.models.data.labels)
        if self.move:
            return lesions.place(lesion, head, nibabel.affines.voxel_sizes(one.case.affine), rng)
        return lesions.at_its_place(lesion, one.case.affine, head), {"source": lesion.source}

    def synthesize(
        self, one: Patient, source: str, label: np.ndarray, removed: np.ndarray | None, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Synthesises every modality, slice by slice.

        Args:
          one: the patient.
          source: modality from which the structure map is extracted.
          label: uint8 [x, y, z], classes; inside the head.
          removed: uint8 [x, y, z], the lesion whose edges are erased from the map; None for none.
          rng: draws the noise and the contrast code that some models take.

        Returns:
          float32 [z, H, W] by modality.
        """
        slices, config = tf.constant(one.slices(source)[..., None]), self.models.structure_map
        background = structure_maps.background_of(slices, config)
        edges = structure_maps.structure_map(slices, config)
        if removed is not None:
            own = one.view.label_slices(removed)
            edges = fusion.remove_lesion_edges(edges, own[..., None])
        fitted = one.view.label_slices(label)
        made = self.models.synthesize(edges.numpy()[..., 0], background.numpy()[..., 0], fitted, rng)
        # Algorithm 2 dilates the head mask, so images are clipped to the real head.
        head = slices.numpy()[..., 0] > 0
        return {modality: np.where(head, images, 0.0) for modality, images in made.items()}
