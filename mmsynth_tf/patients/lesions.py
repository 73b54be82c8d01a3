"""Lesion labels: read from files, grown from noise, and placed into a head."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import scipy.ndimage

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import file_search, volumes
from mmsynth_tf.reading.labels import LabelError, to_classes
from mmsynth_tf.reading.release_table import RELEASES, Release, release_named

_log = logging.getLogger(__name__)

# Maximum number of places tried, and how many of them before the lesion shrinks a little.
_TRIES, _TRIES_OF_A_SIZE = 2000, 10
_SHRINKING = 0.985
_MAX_ROTATION, _MAX_SCALING = np.deg2rad(15.0), 0.1
# A lesion fits if less than this fraction lies outside the head; that part is cut off.
_LARGEST_SHARE_OUTSIDE = 0.01
# A lesion at its own place with a larger share outside the head was drawn for another head.
_LARGEST_SHARE_OUTSIDE_AT_ITS_PLACE = 0.05
# Distance that lesions keep from each other, mm: the seam of one hardly reaches the next at 3 mm a pixel, and a
# segmenter sees two lesions.
_GAP_MM = 6.0
# Number of lesion voxels sampled to test whether it fits.
_PROBES = 4000
# Classes of a procedural lesion from its rim to its centre: oedema, enhancing tumour, necrotic core.
_BRATS_SHELLS = (2, 4, 1)


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A label with its own voxel grid."""

    label: np.ndarray  # uint8 [x, y, z] in LPS order, classes.
    affine: np.ndarray  # float64 [4, 4], from indices to NIfTI millimetres.
    source: str  # Its file, or how it was generated.

    @property
    def voxel_sizes(self) -> np.ndarray:
        return nibabel.affines.voxel_sizes(self.affine)


def find(path: Path, release: str | None = None) -> list[tuple[Path, Release]]:
    """Finds label files, each with the release that defines its values.

    Args:
      path: a label file, or a folder with files named like the labels of any release.
      release: the release; detected from the names if not given.

    Raises:
      UserError: the file does not exist, or the folder has no label file.
    """
    if release is not None and release not in RELEASES:
        raise UserError(f"Unknown release {release!r}. Known releases: {', '.join(RELEASES)}.")
    forced = RELEASES[release] if release else None
    candidates = [other for other in RELEASES.values() if forced is None or other.layout == forced.layout]
    if path.is_file():
        return [(path, forced or _release_of(file_search.as_given(path).as_posix(), candidates) or RELEASES["custom"])]
    if not path.is_dir():
        raise UserError(f"There is no file or folder {path}. Check --label.")
    listing = file_search.list_files(path)
    found = [(listing.parent / name, _release_of(name, candidates)) for name in listing.files]
    found = [(file, forced or of) for file, of in found if of is not None]
    if not found:
        names = ", ".join(dict.fromkeys(candidate.label.example.format(case="<case>") for candidate in candidates))
        raise UserError(f"{path} holds no label. Expected files such as {names}.")
    return found


def _release_of(name: str, candidates: Sequence[Release]) -> Release | None:
    """The release whose label names match; a release whose case names match too is preferred."""
    for candidate in candidates:
        if match := candidate.label.match(name):
            claiming = release_named(match["case"])
            return claiming if claiming and claiming.layout == candidate.layout else candidate
    return None


def read(path: Path, release: Release, labels: Sequence[str]) -> Lesion:
    """Reads a label file and logs anything unusual.

    Args:
      path: the file.
      release: the release that defines its values.
      labels: names of the models' classes.

    Raises:
      UserError: the file cannot be read, is empty, or holds values unknown to the release or the models.
    """
    try:
        image = volumes.read_image(path)
        if image.array.ndim != 3:
            raise UserError(f"Label {path} has {image.array.ndim} dimensions. Give one volume of whole numbers.")
        label, oddities = to_classes(image.array, release, labels, "--label_release", fixed=True)
    except (volumes.VolumeError, LabelError) as error:
        raise UserError(f"Label {path}: {error}.") from error
    if not label.any():
        raise UserError(f"Label {path} has no lesion. Choose another label.")
    for oddity in (*image.oddities, *oddities):
        _log.warning("Label %s: %s. %s.", path, oddity.text, oddity.remedy)
    return Lesion(label, image.affine, path.name)


def grow(labels: Sequence[str], rng: np.random.Generator) -> Lesion:
    """Generates a procedural lesion: a bumpy ellipsoid of nested shells, on 1 mm voxels.

    Args:
      labels: names of the classes.
      rng: source of randomness.
    """
    shells = _BRATS_SHELLS if tuple(labels) == constants.BRATS_LABELS else tuple(range(1, len(labels)))
    radii = rng.uniform(14.0, 28.0, 3)
    size = 2 * int(np.ceil(1.5 * radii.max())) + 1
    grid = np.indices((size,) * 3) - size // 2
    distance = np.sqrt(np.sum((grid / radii[:, None, None, None]) ** 2, axis=0))
    bumps = scipy.ndimage.gaussian_filter(rng.standard_normal(distance.shape), 8.0)
    distance += 0.15 * bumps / bumps.std()
    label = np.zeros(distance.shape, np.uint8)
    for shell, value in enumerate(shells):
        label[distance < (len(shells) - shell) / len(shells)] = value
    return Lesion(label, np.diag([-1.0, -1.0, 1.0, 1.0]), "grown")


def resample(lesion: Lesion, affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resamples the label to the grid of `affine` by nearest voxel, at its header's position: uint8 [*shape]."""
    to_lesion = np.linalg.inv(lesion.affine) @ affine
    return _transform(lesion.label, to_lesion[:3, :3], to_lesion[:3, 3], shape)


def at_its_place(lesion: Lesion, affine: np.ndarray, head: np.ndarray) -> np.ndarray:
    """The label where its header says: uint8 [x, y, z] on the head's grid, 0 outside the head.

    Args:
      lesion: the lesion.
      affine: float64 [4, 4], of the head's grid.
      head: bool [x, y, z] in LPS order.

    Raises:
      UserError: much of the lesion lies outside the head.
    """
    label = resample(lesion, affine, head.shape)
    outside = np.count_nonzero(label[~head]) / np.count_nonzero(label) if label.any() else 1.0
    if outside > _LARGEST_SHARE_OUTSIDE_AT_ITS_PLACE:
        raise UserError(
            f"{outside:.0%} of the lesion of {lesion.source} lies outside the head. Move it to a place where it fits "
            "with --move_label."
        )
    return np.where(head, label, 0).astype(np.uint8)


def put(
    chosen: Sequence[Lesion],
    affine: np.ndarray,
    head: np.ndarray,
    taken: np.ndarray | None,
    rng: np.random.Generator,
    *,
    move: bool,
) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Puts lesions into a head, one after the other.

    Args:
      chosen: the lesions.
      affine: float64 [4, 4], of the head's grid.
      head: bool [x, y, z] in LPS order.
      taken: bool [x, y, z], further lesions. The chosen ones keep clear of them and of each other; None: they need not.
      rng: source of randomness.
      move: move them to random places, see `place`; otherwise their headers give the places, see `at_its_place`.

    Returns:
      For each lesion its label, uint8 [x, y, z], 0 outside the head, and a record: its origin, and the transform from
      the head's indices to the lesion's.

    Raises:
      UserError: a lesion does not fit, or must not move and overlaps another one.
    """
    placed, sizes = [], nibabel.affines.voxel_sizes(affine)
    for lesion in chosen:
        if move:
            free = head if taken is None else head & ~_grown(taken, sizes)
            label, record = place(lesion, free, sizes, rng)
        else:
            label, to_lesion = at_its_place(lesion, affine, head), np.linalg.inv(lesion.affine) @ affine
            record = {"matrix": to_lesion[:3, :3].tolist(), "offset": to_lesion[:3, 3].tolist()}
        if taken is not None:
            if label[taken].any():
                raise UserError(
                    f"The lesion of {lesion.source} overlaps another one. Move it with --move_label, or allow this "
                    "with --overlap."
                )
            taken = taken | (label > 0)
        placed.append((label, {"source": lesion.source, **record}))
    return placed


def merge(labels: Sequence[np.ndarray]) -> np.ndarray:
    """One label from several, uint8 [x, y, z]; later ones lie on top."""
    whole = labels[0]
    for label in labels[1:]:
        whole = np.where(label > 0, label, whole)
    return whole


def _grown(taken: np.ndarray, voxel_sizes: np.ndarray) -> np.ndarray:
    """Lesions bool [x, y, z] with the gap around them that others keep."""
    reach = 2 * np.ceil(_GAP_MM / voxel_sizes).astype(int) + 1
    return scipy.ndimage.maximum_filter(taken, reach, mode="constant") if taken.any() else taken


def place(
    lesion: Lesion, head: np.ndarray, voxel_sizes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """Moves a lesion to a random place in a head: rotates, scales, perhaps mirrors, and shrinks it until it fits.

    Args:
      lesion: the lesion.
      head: bool [x, y, z] in LPS order.
      voxel_sizes: voxel size of the head's grid, mm.
      rng: source of randomness.

    Returns:
      label: uint8 [x, y, z], 0 outside the head.
      record: the lesion's origin, and the transform from the head's indices to the lesion's.

    Raises:
      UserError: the lesion does not fit anywhere.
    """
    voxels = np.argwhere(lesion.label)
    centre, inside = voxels.mean(axis=0), np.argwhere(head)
    if not inside.size:
        raise UserError("The head is empty, so no lesion fits. Give an image with a head, or another --seed.")
    probes = (voxels[:: max(1, len(voxels) // _PROBES)] - centre) * lesion.voxel_sizes
    for attempt in range(_TRIES):
        turn = _random_turn(rng) * _SHRINKING ** (attempt // _TRIES_OF_A_SIZE)
        target = inside[rng.integers(len(inside))]
        moved = np.rint(target + probes @ turn.T / voxel_sizes).astype(int)
        if _share_outside(moved, head) <= _LARGEST_SHARE_OUTSIDE:
            matrix = np.diag(1 / lesion.voxel_sizes) @ np.linalg.inv(turn) @ np.diag(voxel_sizes)
            label = _transform(lesion.label, matrix, centre - matrix @ target, head.shape)
            label[~head] = 0
            if label.any():
                offset = (centre - matrix @ target).tolist()
                return label, {"source": lesion.source, "matrix": matrix.tolist(), "offset": offset}
    raise UserError(
        f"The lesion of {lesion.source} does not fit anywhere in the head, even shrunk. Choose another label, or fewer "
        "lesions."
    )


def _random_turn(rng: np.random.Generator) -> np.ndarray:
    """A rotation about the long axis with scaling and mirroring; [3, 3], mm to mm."""
    angle = rng.uniform(-_MAX_ROTATION, _MAX_ROTATION)
    scale = np.exp(rng.uniform(-1.0, 1.0) * np.log1p(_MAX_SCALING))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return scale * turn @ np.diag([rng.choice((-1.0, 1.0)), 1.0, 1.0])


def _share_outside(voxels: np.ndarray, head: np.ndarray) -> float:
    within = np.all((voxels >= 0) & (voxels < head.shape), axis=1)
    return 1.0 - np.count_nonzero(head[tuple(voxels[within].T)]) / len(voxels)


def _transform(label: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return scipy.ndimage.affine_transform(label, matrix, offset, output_shape=tuple(shape), order=0)
