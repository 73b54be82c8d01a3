"""One patient in memory: checked volumes, the files' grids for results, and the model's field of view."""

import dataclasses
import logging

import nibabel
import numpy as np

from mmsynth_tf.configs import DataConfig, slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import field_of_view
from mmsynth_tf.patients.field_of_view import FieldOfView
from mmsynth_tf.patients.files import FileGrid
from mmsynth_tf.reading import cases, geometry, scaling
from mmsynth_tf.reading.releases import CaseFiles

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Patient:
    """A case with the grids needed to write results. Volumes are [x, y, z] in LPS order."""

    files: CaseFiles
    case: cases.Case
    view: FieldOfView

    def grid(self, modality: str) -> FileGrid:
        """The grid of a modality's file, used for results derived from it."""
        return FileGrid.of(self.files.images[modality].path)

    @property
    def slice_spacing(self) -> float:
        """Distance of neighbouring axial slices, mm."""
        return float(nibabel.affines.voxel_sizes(self.case.affine)[2])

    def voxels_in_pixels(self, data: DataConfig) -> np.ndarray:
        """Size of the voxels along each axis: float [3].

        In pixels of slices made with these settings, if these had the size of `slice_sizes.MEASURED_SIZE`.
        """
        _, row, column = data.spacing_mm
        pixel = np.sqrt(row * column) * slice_sizes.relative_size(data.image_size)
        return nibabel.affines.voxel_sizes(self.case.affine) / pixel

    def head(self, modality: str) -> np.ndarray:
        """Head mask of a modality: bool [x, y, z]."""
        return scaling.foreground(self.case.images[modality], self.case.ranges[modality])

    def scaled(self, modality: str) -> np.ndarray:
        """Scaled volume of a modality: float32 [x, y, z], 0 outside the head and in [1/256, 1] inside."""
        return scaling.scale(self.case.images[modality], self.case.ranges[modality])

    def slices(self, modality: str) -> np.ndarray:
        """The model's slices of a modality: float32 [z, height, width], in the same range."""
        return self.view.image_slices(self.scaled(modality))

    def choose(self, modality: str | None) -> str:
        """Returns the given modality, or the case's first.

        Raises:
          UserError: the case lacks the modality.
        """
        present = list(self.case.images)
        if modality is not None and modality not in present:
            raise UserError(
                f"Case {self.case.case_id} has no {modality}, only {', '.join(present)}. Name one of these with "
                "--source."
            )
        return modality or present[0]


def read(files: CaseFiles, data: DataConfig, with_label: bool = False) -> Patient:
    """Reads the files of a case.

    Args:
      files: at least one modality.
      data: modalities, classes, crop, scaling and voxel size of the models' training data.
      with_label: read the label too, if there is one.

    Raises:
      CaseError: a file cannot be used.
    """
    if not with_label:
        files = dataclasses.replace(files, label=None)
    case = cases.read_case(files, data, allow_incomplete=True, for_slices=False)  # Of any size.
    heads = [scaling.foreground(image, case.ranges[name]) for name, image in case.images.items()]
    sizes = nibabel.affines.voxel_sizes(case.affine)[:2]
    head = np.logical_or.reduce(heads)
    view = field_of_view.find(head, sizes, data)
    if view.share_cut_off(head) > geometry.LARGEST_SHARE_CUT_OFF:
        share = view.share_cut_off(head)
        _log.warning("Case %s: %.0f%% of the head lies outside the models' field of view.", case.case_id, 100 * share)
    return Patient(files, case, view)
