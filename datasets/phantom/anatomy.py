"""Head anatomy: the MNI ICBM152 2009a tissue maps under a random smooth deformation.

All coordinates are in millimetres, x to the patient's left, y to the back, z
to the head; arrays are [x, y, z] in the same order.
"""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from datasets.phantom.fields import smooth_field
from mmsynth_tf.errors import UserError

FIELD_OF_VIEW = (240.0, 240.0, 155.0)  # Of BraTS.
_BRAIN_CENTRE = np.array([119.0, 128.0, 70.0])  # Where the brain lies in that field of view.
_ATLAS_CENTRE = np.array([98.0, 116.0, 76.0])  # The same point in the atlas.
# Half the sides of the box around the brain centre; computations are limited to this box.
_HALF_BOX = np.array([84.0, 100.0, 85.0])
_SIZE = 0.94  # Size of skull-stripped BraTS heads relative to the atlas.


@dataclasses.dataclass(frozen=True)
class Tissues:
    """Anatomy within a box of the volume; all arrays are float32 or bool [x, y, z] of the box."""

    box: tuple[slice, slice, slice]
    inside: np.ndarray  # bool, the brain.
    csf: np.ndarray  # Fractions of cerebrospinal fluid, grey and white matter; they add up to 1 inside.
    grey: np.ndarray
    white: np.ndarray


@dataclasses.dataclass(frozen=True)
class MassEffect:
    """Displacement of the tissue around a tumour."""

    centre: np.ndarray  # mm
    radius: float  # mm
    strength: float  # Displacement at the tumour's edge, as a share of the radius.

    def displacement(self, points: np.ndarray) -> np.ndarray:
        """Original position of the tissue at the points [3, ...], relative to the points, mm."""
        offset = points - self.centre.reshape(3, *[1] * (points.ndim - 1)).astype(np.float32)
        distance = np.sqrt((offset**2).sum(axis=0)) / np.float32(self.radius)
        return -offset * (self.strength / (1 + distance**3)).astype(np.float32)


@functools.cache
def atlas() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brain mask, grey and white matter; float32 [197, 233, 189] in [0, 1], 1 mm, x to the left and y to the back.

    Raises:
      UserError: nilearn, whose wheel holds the maps, is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise UserError("The phantom needs nilearn. Run pip install 'mmsynth_tf[phantom]'.") from error
    loaders = (datasets.load_mni152_brain_mask, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    maps = [np.asarray(load(resolution=1).dataobj, np.float32)[::-1, ::-1] for load in loaders]
    maps[0] = ndimage.gaussian_filter(maps[0], 1.0)  # Smoothed, so that the deformed edge has no steps.
    return tuple(np.ascontiguousarray(m) for m in maps)


def grid_shape(spacing: float) -> tuple[int, ...]:
    return tuple(round(extent / spacing) for extent in FIELD_OF_VIEW)


def brain_box(spacing: float) -> tuple[slice, slice, slice]:
    """The box of voxels that may contain brain."""
    starts = np.maximum((_BRAIN_CENTRE - _HALF_BOX) / spacing, 0).astype(int)
    stops = np.minimum((_BRAIN_CENTRE + _HALF_BOX) / spacing, grid_shape(spacing)).astype(int)
    return tuple(slice(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True))


def box_points(box: tuple[slice, slice, slice], spacing: float) -> np.ndarray:
    """Centres of the voxels of a box, mm; float32 [3, x, y, z]."""
    axes = [np.arange(s.start, s.stop, dtype=np.float32) * np.float32(spacing) for s in box]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def to_head(atlas_point: np.ndarray) -> np.ndarray:
    """Position in the head of an atlas point, before random deformation; mm."""
    return (np.asarray(atlas_point) - _ATLAS_CENTRE) * _SIZE + _BRAIN_CENTRE


def deformed_tissues(rng: np.random.Generator, spacing: float, mass_effect: MassEffect) -> Tissues:
    """Draws one person's anatomy: affine and two scales of smooth deformation, then the tumour's mass effect."""
    box = brain_box(spacing)
    points = box_points(box, spacing)
    points += mass_effect.displacement(points)
    points -= _BRAIN_CENTRE.reshape(3, 1, 1, 1).astype(np.float32)
    points = np.tensordot(_random_affine(rng), points, axes=1)
    shape = points.shape[1:]
    for distance, amplitude in ((45.0, 3.0), (18.0, 1.2)):  # mm
        for axis in range(3):
            points[axis] += amplitude * smooth_field(rng, shape, distance / spacing)
    points += _ATLAS_CENTRE.reshape(3, 1, 1, 1).astype(np.float32)
    return _sample_tissues(box, points)


def _random_affine(rng: np.random.Generator) -> np.ndarray:
    """From head to atlas coordinates: size and proportions, small rotations, shear; float32 [3, 3]."""
    proportions = np.diag(1 / (_SIZE * (1 + rng.uniform(-0.05, 0.05, 3))))
    return (proportions @ (np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3)))).astype(np.float32)


def _sample_tissues(box: tuple[slice, slice, slice], points: np.ndarray) -> Tissues:
    brain, grey_map, white_map = atlas()
    inside = ndimage.map_coordinates(brain, points, order=1) > 0.5
    inside_points = points[:, inside]
    grey, white = (ndimage.map_coordinates(m, inside_points, order=1) for m in (grey_map, white_map))
    # The maps are averages over many people; squaring makes them as sharp as those of one person.
    squares = [np.square(f) for f in (np.clip(1 - grey - white, 0, 1), grey, white)]
    total = np.maximum(sum(squares), np.float32(1e-6))
    volumes = []
    for square in squares:
        volume = np.zeros(inside.shape, np.float32)
        volume[inside] = square / total
        volumes.append(volume)
    return Tissues(box, inside, *volumes)
