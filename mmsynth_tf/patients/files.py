"""Finds patients' files, and writes results with the grid and header of an input file."""

import dataclasses
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

from mmsynth_tf import __version__, constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import file_search, layouts, releases, volumes
from mmsynth_tf.reading.release_table import RELEASES
from mmsynth_tf.reading.releases import CaseFiles, Volume

_ENDINGS = (".nii.gz", ".nii", ".mha")
# Some releases do not distinguish these two classes; each stands in for the other.
_STAND_IN = {3: 1, 1: 3}
CANONICAL = "canonical"


def find(
    path: Path, modalities: Sequence[str], modality: str | None = None, release: str | None = None
) -> list[CaseFiles]:
    """Finds the cases of a folder, or the case of one file.

    Args:
      path: folder with cases in the layout of any release, or one file.
      modalities: the models' modalities.
      modality: modality of the file; inferred from its name if not given.
      release: release of the folder's cases; detected if not given.

    Raises:
      UserError: no case is found, or the file's modality is unknown.
    """
    if modality is not None and modality not in modalities:
        raise UserError(f"The models do not know --modality={modality}; choose one of {', '.join(modalities)}.")
    if path.is_dir():
        return releases.find_cases(path, modalities, release)
    if not path.is_file():
        raise UserError(f"There is no file or folder {path}. Check --input.")
    return [_single_file(path, modalities, modality)]


def _single_file(path: Path, modalities: Sequence[str], modality: str | None) -> CaseFiles:
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise UserError(f"{path} is neither NIfTI nor MetaImage by its name. Give a file that ends in .nii.gz or .mha.")
    name = file_search.as_given(path).as_posix().removeprefix("/")
    for release in RELEASES.values():
        for candidate in modalities if modality is None else [modality]:
            source = release.source(candidate)
            match = source.channel is None and source.match(name)
            if match and (modality or not layouts.is_after_contrast(name)):
                return CaseFiles(match["case"], match["case"], release, {candidate: Volume(path)}, None)
    if modality is None:
        raise UserError(
            f"The name of {path} does not tell its modality. Give it with --modality={'|'.join(modalities)}."
        )
    case_id = path.name[: -len(ending)]
    return CaseFiles(case_id, case_id, RELEASES["custom"], {modality: Volume(path)}, None)


@dataclasses.dataclass(frozen=True)
class FileGrid:
    """Voxel grid of a file, in the file's own orientation, and its header."""

    shape: tuple[int, int, int]
    affine: np.ndarray  # float64 [4, 4], from indices to NIfTI millimetres.
    header: nibabel.Nifti1Header | None = None

    @classmethod
    def of(cls, path: Path) -> "FileGrid":
        """The grid of a file that was read before: NIfTI, compressed or not, or MetaImage in LPS order."""
        if path.suffix.lower() == ".mha":
            image = volumes.read_image(path)
            return cls(image.array.shape[:3], image.affine)
        header = _read_header(path)
        keeps = isinstance(header, nibabel.Nifti1Header) and not isinstance(header, nibabel.Nifti2Header)
        return cls(header.get_data_shape()[:3], header.get_best_affine(), header if keeps else None)

    def image(self, volume: np.ndarray, description: str) -> nibabel.Nifti1Image:
        """Converts a volume [x, y, z] in LPS order to an image on this grid, with the volume's dtype."""
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("LPS"), nibabel.io_orientation(self.affine)
        )
        image = nibabel.Nifti1Image(nibabel.apply_orientation(volume, turn), self.affine, self._clean_header())
        image.set_data_dtype(volume.dtype)
        image.header["descrip"] = description.encode("ascii")[:79]
        return image

    def _clean_header(self) -> nibabel.Nifti1Header | None:
        """Keeps position and units; drops display range and texts, because texts may name the patient."""
        if self.header is None:
            return None
        header = self.header.copy()
        header.extensions.clear()
        for field in ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
            header[field] = 0
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            header[field] = b""
        header.set_slope_inter(1, 0)
        return header


def _read_header(path: Path) -> nibabel.Nifti1Header:
    """Reads the header of a NIfTI file; compression is detected from the content, as in `volumes`."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rb") as file:
        start = file.read(nibabel.Nifti2Header.template_dtype.itemsize)
        file.seek(0)
        kind = nibabel.Nifti2Header if nibabel.Nifti2Header.may_contain_header(start) else nibabel.Nifti1Header
        return kind.from_fileobj(file)


def save_image(volume: np.ndarray, grid: FileGrid, path: Path, largest: int = 1, what: str = "synthetic image") -> None:
    """Writes a volume in [0, 1] as float32, or as int16 in [0, largest] if `largest` is above 1.

    Args:
      volume: [x, y, z] in LPS order.
      grid: of the file.
      path: of the file.
      largest: value of the brightest voxel.
      what: what the volume is, for the header.
    """
    values = np.rint(volume * largest).astype(np.int16) if largest > 1 else volume.astype(np.float32)
    nibabel.save(grid.image(values, _description(what)), path)


def save_label(label: np.ndarray, grid: FileGrid, path: Path, codes: Mapping[int, int] | None = None) -> None:
    """Writes a label of canonical classes, converted to a release's values if `codes` is given (see `label_codes`)."""
    if codes is not None:
        table = np.zeros(max(codes) + 1, np.uint8)
        table[list(codes)] = list(codes.values())
        label = table[label]
    nibabel.save(grid.image(label.astype(np.uint8), _description("label")), path)


def label_codes(release: str, labels: Sequence[str]) -> dict[int, int] | None:
    """Maps canonical classes to a release's label values; None for the canonical classes themselves.

    Raises:
      UserError: the release has no values for these classes.
    """
    if release == CANONICAL or RELEASES[release].label_values is None:
        return None
    if tuple(labels) != constants.BRATS_LABELS:
        raise UserError(
            f"The models' classes ({', '.join(labels)}) have no values in {release}. Leave --label_values out."
        )
    codes = {label: value for value, label in RELEASES[release].label_values.items()}
    return {label: codes.get(label, codes.get(_STAND_IN.get(label))) for label in range(len(labels))}


def image_name(files: CaseFiles, modality: str) -> str:
    """File name of a modality by the convention of the case's release; other layouts use BraTS 2018's."""
    release = files.release if files.release.layout == "suffix" else RELEASES["brats2017-2021"]
    return release.source(modality).example.format(case=files.case_id)


def label_name(files: CaseFiles) -> str:
    release = files.release if files.release.layout == "suffix" else RELEASES["brats2017-2021"]
    return release.label.example.format(case=files.case_id)


def _description(what: str) -> str:
    return f"mmsynth_tf {__version__} {what}. {constants.DISCLAIMER}"
