"""Reads a case: its volumes, checked for consistency, and its label in the canonical scheme (method §0)."""

import dataclasses
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmsynth_tf import constants
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import background, geometry, labels, scaling
from mmsynth_tf.reading.grids import ALIGNED, MISALIGNED, Grid, commonest_grid
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.releases import LABEL, CaseFiles, Volume
from mmsynth_tf.reading.volumes import Image, VolumeError, read_image

_log = logging.getLogger(__name__)

# A modality that shows a smaller fraction of the union of all heads was probably cut off.
_SMALLEST_SHARE_OF_HEAD = 0.9
# Registration and skull-stripping leave a few lesion voxels outside the head in good data.
_LARGEST_LESION_OUTSIDE = 0.01


class CaseError(UserError):
    """A case that cannot be used; `problems` lists the reasons."""

    def __init__(self, problems: list[Problem]):
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Case:
    """A case in memory; all volumes are [x, y, z] in LPS order and share one grid."""

    case_id: str
    patient_id: str
    images: Mapping[str, np.ndarray]  # Dtype and unit of the file; modalities without a file are absent.
    ranges: Mapping[str, scaling.IntensityRange]
    label: np.ndarray | None  # uint8, classes of the canonical scheme.
    affine: np.ndarray  # float64 [4, 4], from indices to NIfTI millimetres.
    head_slices: tuple[int, int]  # The lowest and the highest slice that shows the head, in any modality.


def read_case(files: CaseFiles, data: DataConfig, allow_incomplete: bool = False, for_slices: bool = True) -> Case:
    """Reads and checks a case; warnings are logged.

    Args:
      files: the files of the case.
      data: required modalities, classes, slice range and crop.
      allow_incomplete: accept a case without its label, or with one modality only.
      for_slices: slices will be extracted from the case, so slice range, crop and voxel size must fit.

    Raises:
      CaseError: the case cannot be used.
    """
    case, problems = inspect_case(files, data, allow_incomplete, for_slices)
    if case is None:
        raise CaseError([problem for problem in problems if not problem.is_warning])
    for problem in problems:
        _log.warning("%s", problem)
    return case


def inspect_case(
    files: CaseFiles, data: DataConfig, allow_incomplete: bool = False, for_slices: bool = True
) -> tuple[Case | None, list[Problem]]:
    """Reads a case and reports all problems; the case is None if any problem is more than a warning."""
    return _Inspection(files, data, for_slices).run(allow_incomplete)


class _Inspection:
    """Reads one case and collects its problems."""

    def __init__(self, files: CaseFiles, data: DataConfig, for_slices: bool):
        self.files, self.data, self.for_slices = files, data, for_slices
        self.problems: list[Problem] = []
        self.grid = Grid((), np.eye(4))  # The grid of most volumes.

    def run(self, allow_incomplete: bool) -> tuple[Case | None, list[Problem]]:
        self._check_extra_files()
        if not allow_incomplete:
            self._check_complete()
        arrays = self._finite_only(self._on_one_grid(self._read_all()))
        label = self._label(arrays.pop(LABEL)) if LABEL in arrays else None
        ranges, heads = self._measure_all(arrays)
        self._check_copies(arrays, ranges)
        clear = self._check_backgrounds(arrays, ranges, heads)
        head = self._check_heads({modality: heads[modality] for modality in clear or heads})
        if label is not None and ranges:
            self._check_lesion(label, head)
        if self.for_slices and not any(not problem.is_warning for problem in self.problems):
            self._check_crop(head if clear else None, label)
        if any(not problem.is_warning for problem in self.problems):
            return None, self.problems
        files, shown = self.files, np.flatnonzero(head.any(axis=(0, 1)))
        span = int(shown[0]), int(shown[-1])
        return Case(files.case_id, files.patient_id, arrays, ranges, label, self.grid.affine, span), self.problems

    def _report(self, file: Path | str, text: str, remedy: str, is_warning: bool = False) -> None:
        name = file.name if isinstance(file, Path) else file
        problem = Problem(self.files.case_id, name, text, remedy, is_warning)
        if problem not in self.problems:  # A stacked file is visited once per modality.
            self.problems.append(problem)

    def _check_extra_files(self) -> None:
        folders: dict[Path, dict[str, str]] = {}
        for role, path in self.files.extra:
            folders.setdefault(path.parent, {})[role] = path.name
        for folder, names in folders.items():
            text = f"there are further files for {', '.join(names)} in {folder}"
            self._report(min(names.values()), text, "Remove one of each, or rename one of two cases")

    def _check_complete(self) -> None:
        missing = {m: self.files.release.source(m) for m in self.data.modalities if m not in self.files.images}
        if self.files.label is None:
            missing[LABEL] = self.files.release.label
        for role, source in missing.items():
            what = "the label" if role == LABEL else f"modality {role}"
            use = " (no stage is trained on a case without a label)" if role == LABEL else ""
            self._report(
                source.example.format(case=self.files.case_id),
                f"{what} is missing ({self.files.release.name} file names)",
                f"Add the file, remove the case, or use what there is with --allow_incomplete{use}",
            )

    def _read_all(self) -> dict[str, tuple[np.ndarray, Grid]]:
        """The volumes that could be read; a stacked file is read once."""
        contents: dict[Path, Image] = {}
        volumes = {}
        for role, volume in self._volumes().items():
            try:
                if volume.path not in contents:
                    contents[volume.path] = read_image(volume.path)
                image = contents[volume.path]
                array = _channel(image.array, volume)
            except VolumeError as error:
                self._report(volume.path, error.text, error.remedy)
                continue
            for oddity in image.oddities:
                self._report(volume.path, oddity.text, oddity.remedy, is_warning=True)
            volumes[role] = array, Grid(array.shape, image.affine)
        return volumes

    def _volumes(self) -> dict[str, Volume]:
        return dict(self.files.images) | ({LABEL: self.files.label} if self.files.label else {})

    def _on_one_grid(self, volumes: Mapping[str, tuple[np.ndarray, Grid]]) -> dict[str, np.ndarray]:
        """The arrays of the volumes on the most common grid."""
        if not volumes:
            return {}
        reference = commonest_grid({role: grid for role, (_, grid) in volumes.items()})
        self.grid, path = volumes[reference][1], self._volumes()[reference].path
        if self.for_slices:
            self._check_slices(path)
            self._report_finding(path, geometry.voxel_finding(self.grid.affine, self.data))
        return {role: array for role, (array, grid) in volumes.items() if self._fits(role, grid, path.name)}

    def _fits(self, role: str, grid: Grid, reference: str) -> bool:
        path, offset = self._volumes()[role].path, grid.offset(self.grid)
        if grid.shape != self.grid.shape:
            text = f"its shape {grid.shape} differs from {self.grid.shape} of {reference} (axes x, y, z in LPS order)"
            self._report(path, text, "Resample all volumes of the case to one grid")
        elif offset >= MISALIGNED:
            text = f"its affine differs from that of {reference}, by up to {offset:.1f} voxels"
            self._report(path, text, "Register the volumes, or repair the header if the voxels do match")
        elif offset > ALIGNED:
            text = f"its affine differs a little from that of {reference}, by up to {offset:.2f} voxels"
            self._report(path, text, "The voxels are read as if they matched; check that they do", is_warning=True)
        return offset < MISALIGNED

    def _check_slices(self, path: Path) -> None:
        data, (columns, rows, depth) = self.data, self.grid.shape
        asked = {
            "slices": (data.slices[:2], depth),
            "crop_rows": (data.crop_rows, rows),
            "crop_columns": (data.crop_columns, columns),
        }
        for name, ((start, stop), size) in asked.items():
            if not 0 <= start < stop <= size:
                text = f"it has {size} voxels where the configuration asks for {start} to {stop}"
                self._report(path, text, f"Set {name} (--config.data) to a range within 0 to {size}")

    def _finite_only(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The finite arrays; NaN outside the head is first replaced by a number."""
        finite = {}
        for role, array in arrays.items():
            path = self._volumes()[role].path
            if np.issubdtype(array.dtype, np.integer):
                finite[role] = array
                continue
            if role != LABEL and scaling.has_nan_background(array):
                text = "its background is NaN"
                self._report(path, text, "NaN counts as background; check that there is none inside", is_warning=True)
                array = scaling.without_nan(array)
            count = np.count_nonzero(~np.isfinite(array))
            if count:
                remedy = "Repair them (0 is the background) or remove the case"
                self._report(path, f"{count} voxels are NaN or infinite", remedy)
            else:
                finite[role] = array
        return finite

    def _label(self, array: np.ndarray) -> np.ndarray | None:
        """Maps label values to classes; uint8 [x, y, z]."""
        path = self.files.label.path
        try:
            label, oddities = labels.to_classes(array, self.files.release, self.data.labels)
        except labels.LabelError as error:
            self._report(path, error.text, error.remedy)
            return None
        for oddity in oddities:
            self._report(path, oddity.text, oddity.remedy, is_warning=True)
        if not label.any():
            self._report(path, "the label is empty", "Check that this patient has no lesion", is_warning=True)
        return label

    def _measure_all(
        self, arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, scaling.IntensityRange], dict[str, np.ndarray]]:
        """The intensity scaling and the head, bool [x, y, z], of each modality with contrast."""
        ranges, heads = {}, {}
        for modality, array in arrays.items():
            path = self.files.images[modality].path
            try:
                ranges[modality], heads[modality] = scaling.measure(array, self.data.percentiles, self.data.median)
            except ValueError as error:
                self._report(path, str(error), "Replace the file, or remove it and use --allow_incomplete")
                continue
        return ranges, heads

    def _check_copies(self, arrays: Mapping[str, np.ndarray], ranges: Mapping[str, scaling.IntensityRange]) -> None:
        for first, second in itertools.combinations(ranges, 2):
            if ranges[first] == ranges[second] and np.array_equal(arrays[first], arrays[second]):
                text = f"modality {second} has the same voxels as {first}"
                remedy = "Give each modality its own image"
                self._report(self.files.images[second].path, text, remedy, is_warning=True)

    def _check_backgrounds(
        self,
        arrays: Mapping[str, np.ndarray],
        ranges: Mapping[str, scaling.IntensityRange],
        heads: Mapping[str, np.ndarray],
    ) -> list[str]:
        """The modalities whose foreground is the head; only brains, if brains and heads with a skull are mixed."""
        clear, with_skull = [], []
        for modality, head in heads.items():
            path, array = self.files.images[modality].path, arrays[modality]
            if oddity := background.oddity(array, ranges[modality], head):
                self._report(path, oddity.text, oddity.remedy, is_warning=True)
                continue  # Spline artefacts and noise around a head may be negative, too.
            if ranges[modality].low < 0:
                text = f"its values are negative (from {array.min():g})"
                self._report(path, text, "They are scaled like others; check that they are intended", is_warning=True)
            oddity = background.skull_oddity(head, self.grid.affine) if self._has_brains else None
            if oddity:
                self._report(path, oddity.text, oddity.remedy, is_warning=True)
            (with_skull if oddity else clear).append(modality)
        return clear or with_skull

    @property
    def _has_brains(self) -> bool:
        return self.data.labels == constants.BRATS_LABELS

    def _check_heads(self, heads: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compares the modalities' heads; returns their union, bool [x, y, z]."""
        whole = np.zeros(self.grid.shape, bool, order="F")  # The memory order of NIfTI files.
        for head in heads.values():
            whole |= head
        largest = np.count_nonzero(whole)
        for modality, head in heads.items():
            path, size = self.files.images[modality].path, np.count_nonzero(head)
            share = size / largest
            if share < _SMALLEST_SHARE_OF_HEAD:
                text = f"it shows only {share:.0%} of the head that the modalities show together"
                self._report(path, text, "Check whether the volume was cut off", is_warning=True)
        return whole

    def _check_lesion(self, label: np.ndarray, head: np.ndarray) -> None:
        # Reversed axes follow the memory order.
        lesion = label.T > 0
        outside = np.count_nonzero(lesion & ~head.T) / max(np.count_nonzero(lesion), 1)
        if outside > _LARGEST_LESION_OUTSIDE:
            text = f"{outside:.0%} of the lesion lies outside the head"
            self._report(self.files.label.path, text, "Check that label and images match", is_warning=True)

    def _check_crop(self, head: np.ndarray | None, label: np.ndarray | None) -> None:
        """Checks that the slices show head and lesion; `head` is None if no image separates it from the background."""
        first = next(iter(self.files.images.values())).path
        if head is None:
            text = "no image of the case separates head and background, so the crop was not compared with the head"
            remedy = "Correct the backgrounds as the other messages say, then run --check again"
            self._report(first, text, remedy, is_warning=True)
        else:
            self._report_finding(first, geometry.crop_finding(head, "head", self.grid.affine, self.data))
            for finding in geometry.edge_findings(head, self.data):
                self._report_finding(first, finding)
        if label is not None:
            finding = geometry.crop_finding(label > 0, "lesion", self.grid.affine, self.data)
            self._report_finding(self.files.label.path, finding)

    def _report_finding(self, path: Path, finding: geometry.Finding | None) -> None:
        if finding:
            self._report(path, finding.text, finding.remedy, finding.is_warning)


def _channel(array: np.ndarray, volume: Volume) -> np.ndarray:
    expected = 3 if volume.channel is None else 4
    if array.ndim != expected:
        text = f"it has {array.ndim} dimensions (shape {array.shape}) where {expected} are expected"
        raise VolumeError(text, "Store one volume per file, or the release's stack of all modalities")
    if expected == 4 and volume.channel >= array.shape[3]:
        raise VolumeError(f"it has only {array.shape[3]} channels", "Store the release's stack of all modalities")
    return array if volume.channel is None else array[..., volume.channel]
