"""Reads a case: its volumes, checked against each other, and its label on the canonical scheme (method §0)."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np

from mmsynth_tf import scaling
from mmsynth_tf.commands import UserError
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.releases import LABEL, CaseFiles, Volume
from mmsynth_tf.volumes import VolumeError, read_volumes

_log = logging.getLogger(__name__)

# A modality that shows less of the head than this, compared with all modalities together, was probably cut off.
_SMALLEST_SHARE_OF_HEAD = 0.9
# A head that fills more of its volume than this has no background.
_LARGEST_HEAD = 0.95
# Registration and skull-stripping leave a few lesion voxels outside the head in good data.
_LARGEST_LESION_OUTSIDE = 0.01
# Volumes of a case are aligned when their corners lie closer together than this, in voxels.
_AFFINE_TOLERANCE = 0.5


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a case. Warnings leave the case usable."""

    case_id: str
    file: str
    text: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"Case {self.case_id}, {self.file}: {self.text}. {self.remedy}."


class CaseError(UserError):
    """A case that cannot be used; `problems` says why."""

    def __init__(self, problems: list[Problem]):
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Case:
    """A case in memory; all volumes are [x, y, z] in LPS order and share one grid."""

    case_id: str
    patient_id: str
    images: Mapping[str, np.ndarray]  # Number type and unit of the file; modalities without a file are absent.
    ranges: Mapping[str, scaling.IntensityRange]
    label: np.ndarray | None  # uint8, classes of the canonical scheme.
    affine: np.ndarray  # float64 [4, 4], from indices to NIfTI millimetres.


def read_case(files: CaseFiles, data: DataConfig, allow_incomplete: bool = False) -> Case:
    """Reads and checks a case; what is odd but usable is logged.

    Args:
      files: the files of the case.
      data: modalities, classes, slice range and crop that the case must serve.
      allow_incomplete: accept a case that lacks modalities (but one) or its label.

    Raises:
      CaseError: the case cannot be used.
    """
    case, problems = inspect_case(files, data, allow_incomplete)
    if case is None:
        raise CaseError([problem for problem in problems if not problem.is_warning])
    for problem in problems:
        _log.warning("%s", problem)
    return case


def inspect_case(
    files: CaseFiles, data: DataConfig, allow_incomplete: bool = False
) -> tuple[Case | None, list[Problem]]:
    """Reads a case and reports all problems; the case is None when any of them is not a warning."""
    return _Inspection(files, data).run(allow_incomplete)


class _Inspection:
    """The reading of one case, with the problems found on the way."""

    def __init__(self, files: CaseFiles, data: DataConfig):
        self.files, self.data = files, data
        self.problems: list[Problem] = []
        self.affine: np.ndarray | None = None
        self.shape: tuple[int, ...] = ()
        self.reference = ""  # The file that the others must agree with.

    def run(self, allow_incomplete: bool) -> tuple[Case | None, list[Problem]]:
        if not allow_incomplete:
            self._check_complete()
        arrays = self._read_all()
        label = self._label(arrays.pop(LABEL)) if LABEL in arrays else None
        ranges = self._measure_all(arrays)
        head = self._check_heads(arrays, ranges)
        if label is not None and ranges:
            self._check_lesion(label, head)
        if any(not problem.is_warning for problem in self.problems):
            return None, self.problems
        case = Case(self.files.case_id, self.files.patient_id, arrays, ranges, label, self.affine)
        return case, self.problems

    def _report(self, file: Path | str, text: str, remedy: str, is_warning: bool = False) -> None:
        name = file.name if isinstance(file, Path) else file
        problem = Problem(self.files.case_id, name, text, remedy, is_warning)
        if problem not in self.problems:  # A file that stacks all modalities is met once for each.
            self.problems.append(problem)

    def _check_complete(self) -> None:
        missing = {m: self.files.release.source(m) for m in self.data.modalities if m not in self.files.images}
        if self.files.label is None:
            missing[LABEL] = self.files.release.label
        for role, source in missing.items():
            what = "the label" if role == LABEL else f"modality {role}"
            self._report(
                source.example.format(case=self.files.case_id),
                f"{what} is missing ({self.files.release.name} file names)",
                "Add the file, remove the case, or use what there is with --allow_incomplete",
            )

    def _read_all(self) -> dict[str, np.ndarray]:
        """The volumes that could be read and lie on the grid of the first; a stacked file is read once."""
        volumes = dict(self.files.images) | ({LABEL: self.files.label} if self.files.label else {})
        contents, arrays = {}, {}
        for role, volume in volumes.items():
            try:
                if volume.path not in contents:
                    contents[volume.path] = read_volumes(volume.path)
                stack, affine = contents[volume.path]
                array = _channel(stack, volume)
            except VolumeError as error:
                self._report(volume.path, error.text, error.remedy)
                continue
            if self._fits(volume.path, array, affine) and self._is_finite(volume.path, array):
                arrays[role] = array
        return arrays

    def _fits(self, path: Path, array: np.ndarray, affine: np.ndarray) -> bool:
        if self.affine is None:
            self.affine, self.shape, self.reference = affine, array.shape, path.name
            self._check_slices(path)
            return True
        if array.shape != self.shape:
            text = f"its shape {array.shape} differs from {self.shape} of {self.reference} (axes x, y, z in LPS order)"
            self._report(path, text, "Resample all volumes of the case to one grid")
            return False
        offset = _corner_offset(affine, self.affine, self.shape)
        if offset > _AFFINE_TOLERANCE:
            text = f"its affine differs from that of {self.reference}, by up to {offset:.1f} voxels"
            self._report(path, text, "Register the volumes, or repair the header if the voxels do match")
            return False
        return True

    def _check_slices(self, path: Path) -> None:
        data, (columns, rows, depth) = self.data, self.shape
        asked = {
            "slice_start and slice_stop": ((data.slice_start, data.slice_stop), depth),
            "crop_rows": (data.crop_rows, rows),
            "crop_columns": (data.crop_columns, columns),
        }
        for name, ((start, stop), size) in asked.items():
            if not 0 <= start < stop <= size:
                text = f"it has {size} voxels where the configuration asks for {start} to {stop}"
                self._report(path, text, f"Set {name} (--config.data) to a range within 0 to {size}")

    def _is_finite(self, path: Path, array: np.ndarray) -> bool:
        if np.issubdtype(array.dtype, np.integer) or np.isfinite(array).all():
            return True
        count = array.size - np.count_nonzero(np.isfinite(array))
        self._report(
            path, f"{count} voxels are NaN or infinite", "Repair them (0 is the background) or remove the case"
        )
        return False

    def _label(self, array: np.ndarray) -> np.ndarray | None:
        """Maps label values to classes; uint8 [x, y, z]."""
        path, classes = self.files.label.path, self.files.release.label_values
        classes = classes or {value: value for value in range(self.data.num_classes)}
        inside = array != 0
        values = np.unique(array[inside])
        unknown = [f"{value:g}" for value in values.tolist() if value not in classes]
        if unknown:
            allowed = ", ".join(map(str, sorted(classes)))
            text = f"unknown label value {', '.join(unknown[:5])}; {self.files.release.name} has {allowed}"
            self._report(path, text, "Repair the label, or name the right numbering with --release")
            return None
        label = np.zeros(array.shape, np.uint8)
        table = np.zeros(max(classes) + 1, np.uint8)
        table[list(classes)] = list(classes.values())
        label[inside] = table[array[inside].astype(np.intp)]
        if label.max() >= self.data.num_classes:
            text = f"class {label.max()} is outside the {self.data.num_classes} configured classes"
            self._report(path, text, "Name all classes in --config.data.labels")
        if not values.size:
            self._report(path, "the label is empty", "Check that this patient has no lesion", is_warning=True)
        return label

    def _measure_all(self, arrays: Mapping[str, np.ndarray]) -> dict[str, scaling.IntensityRange]:
        ranges = {}
        for modality, array in arrays.items():
            path = self.files.images[modality].path
            try:
                ranges[modality] = scaling.measure_range(array, (self.data.percentile_low, self.data.percentile_high))
            except ValueError as error:
                self._report(path, str(error), "Replace the file, or remove it and use --allow_incomplete")
                continue
            if ranges[modality].low < 0:
                text = f"its values are negative (from {array.min():g})"
                self._report(path, text, "They are scaled like others; check that they are meant", is_warning=True)
        return ranges

    def _check_heads(
        self, arrays: Mapping[str, np.ndarray], ranges: Mapping[str, scaling.IntensityRange]
    ) -> np.ndarray:
        """Compares the modalities' heads; returns their union, bool [x, y, z]."""
        whole, sizes = np.zeros(self.shape, bool, order="F"), {}  # The order of NIfTI files.
        for modality, intensities in ranges.items():
            head = scaling.foreground(arrays[modality], intensities)
            sizes[modality] = np.count_nonzero(head)
            whole |= head
        for modality, size in sizes.items():
            path = self.files.images[modality].path
            share = size / np.count_nonzero(whole)
            if share < _SMALLEST_SHARE_OF_HEAD:
                text = f"it shows {share:.0%} of the head that all modalities show together"
                self._report(path, text, "Check whether the volume was cut off", is_warning=True)
            if size > _LARGEST_HEAD * whole.size:
                text = "its background is not constant, so that the whole image counts as head"
                self._report(path, text, "Strip the skull and set the background to 0", is_warning=True)
        return whole

    def _check_lesion(self, label: np.ndarray, head: np.ndarray) -> None:
        lesion = label > 0
        outside = np.count_nonzero(lesion & ~head) / max(np.count_nonzero(lesion), 1)
        if outside > _LARGEST_LESION_OUTSIDE:
            text = f"{outside:.0%} of the lesion lies outside the head"
            self._report(self.files.label.path, text, "Check that label and images match", is_warning=True)


def _channel(array: np.ndarray, volume: Volume) -> np.ndarray:
    expected = 3 if volume.channel is None else 4
    if array.ndim != expected:
        text = f"it has {array.ndim} dimensions (shape {array.shape}) where {expected} are expected"
        raise VolumeError(text, "Give one volume a file, or the release's stack of all modalities")
    if expected == 4 and volume.channel >= array.shape[3]:
        raise VolumeError(f"it has only {array.shape[3]} channels", "Give the release's stack of all modalities")
    return array if volume.channel is None else array[..., volume.channel]


def _corner_offset(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """The farthest that two affines put a corner of the volume apart, in voxels."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    distance = nibabel.affines.apply_affine(first, corners) - nibabel.affines.apply_affine(second, corners)
    return float(np.linalg.norm(distance, axis=1).max() / nibabel.affines.voxel_sizes(second).min())
