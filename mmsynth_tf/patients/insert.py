"""Inserts synthetic lesions, generated from the patient's structure map and labels, into the patient's images."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import blending, fusion, structure_maps
from mmsynth_tf.patients import consistency, files, insertion_check, jobs, lesions, patient, segment
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
      count: number of lesions; labels are drawn without repetition while there are enough.
      overlap: lesions may overlap each other, and the case's own lesion.
      move: move and warp each label to a random place in the head; otherwise its header gives the position.
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
    count: int = 1
    overlap: bool = False
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
        source, found = one.choose(self.source), insertion_check.found_before(one, self.models)
        inserted, placements = zip(*self._place(one, one.head(source), found, rng), strict=True)
        label, removed = lesions.merge(inserted), None
        changed = label > 0
        if self.remove_lesion:
            removed = segment.own_lesion(one, self.models, list(one.case.images))
            changed |= removed > 0
        images = dict(self._draw(one, source, label, removed, changed, rng))
        if not (self.remove_lesion or self.redraw or one.case.label is None):
            # The images still show the case's own lesion.
            label = lesions.merge([one.case.label, label])
        for modality, volume in images.items():
            files.save_image(volume, one.grid(source), folder / files.image_name(case, modality), self.largest)
        codes = files.label_codes(self.release, self.models.data.labels)
        files.save_label(label, one.grid(source), folder / files.label_name(case), codes)
        return {
            "job": "insert",
            "case": case.case_id,
            "source": source,
            "lesions": placements,
            "own_lesion_removed": self.remove_lesion,
            "drawn_into_own_images": self._kept(one),
            "joint_segmenter": insertion_check.try_result(one, found, images, inserted, self.models),
            "seed": self.seed,
            "label_values": self.release,
            "smooth": self.smooth,
            "blur": self.blur,
            "range": [0, self.largest],
            "models": self.models.hashes,
        }

    def _kept(self, one: Patient) -> list[str]:
        """The modalities whose images are the patient's but for the lesions."""
        return [] if self.redraw else list(one.case.images)

    def _place(
        self, one: Patient, head: np.ndarray, found: np.ndarray | None, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, dict[str, Any]]]:
        """The labels to insert on the patient's grid, each with its origin."""
        drawn = rng.choice(len(self.labels), self.count, replace=self.count > len(self.labels))
        chosen = [lesions.read(*self.labels[index], self.models.data.labels) for index in drawn]
        # A lesion that is removed, or redrawn as tissue, is in nobody's way.
        own_stays = not (self.remove_lesion or self.redraw)
        taken = insertion_check.taken(one, found) if own_stays else np.zeros_like(head)
        return lesions.put(chosen, one.case.affine, head, None if self.overlap else taken, rng, move=self.move)

    def _draw(
        self,
        one: Patient,
        source: str,
        label: np.ndarray,
        removed: np.ndarray | None,
        changed: np.ndarray,
        rng: np.random.Generator,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Each modality with the lesions, float32 [x, y, z]; of the patient's, only `changed` voxels are drawn."""
        for modality, slices in self.synthesize(one, source, label, removed, rng).items():
            if self.smooth:
                slices = consistency.smooth(slices, one.slice_spacing, self.blur)
            volume = one.view.image_volume(slices, one.head(source))
            if modality in self._kept(one):
                volume = blending.blend(one.scaled(modality), volume, changed, one.voxels_in_pixels(self.models.data))
            yield modality, volume

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
