"""Gliomas: a core with necrosis and enhancing rim, or a non-enhancing one, in oedema that follows white matter."""

import dataclasses

import numpy as np

from datasets.phantom.anatomy import MassEffect, Tissues, atlas, box_points, to_head
from datasets.phantom.fields import smooth_field

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4  # Label values of BraTS 2018; 1 includes non-enhancing tumour.


@dataclasses.dataclass(frozen=True)
class Glioma:
    """Size, position and type of a tumour."""

    centre: np.ndarray  # mm
    volume: float  # Whole tumour, ml.
    core_share: float  # Of the volume.
    rim: float  # Thickness of the enhancing rim, mm; 0 in low-grade tumours.

    @property
    def mass_effect(self) -> MassEffect:
        core_radius = (3e3 * self.volume * self.core_share / (4 * np.pi)) ** (1 / 3)
        return MassEffect(self.centre, core_radius, strength=0.3)


def draw_glioma(rng: np.random.Generator) -> Glioma:
    """Draws a tumour with a size as in BraTS, in the white matter of the hemispheres; three in four are high-grade."""
    is_high_grade = rng.random() < 0.75
    return Glioma(
        centre=to_head(_white_matter_point(rng)),
        volume=np.exp(rng.uniform(np.log(20), np.log(150))),
        core_share=rng.uniform(0.2, 0.5) if is_high_grade else rng.uniform(0.4, 0.8),
        rim=rng.uniform(2.5, 5.0) if is_high_grade else 0.0,
    )


def _white_matter_point(rng: np.random.Generator) -> np.ndarray:
    """Draws an atlas point, mm, off the midline, above the cerebellum and below the vertex."""
    white = atlas()[2]
    while True:
        point = rng.uniform((40, 60, 60), (157, 190, 115))
        if abs(point[0] - 98) > 15 and white[tuple(point.astype(int))] > 0.8:
            return point


def grow(rng: np.random.Generator, glioma: Glioma, tissues: Tissues, spacing: float) -> np.ndarray:
    """Draws the tumour's shape.

    Returns:
      uint8 [x, y, z] of the tissues' box, label values of BraTS 2018.
    """
    points = box_points(tissues.box, spacing)
    distance = _distance(rng, points, glioma.centre)
    shape = distance.shape
    core_distance = distance * (1 + 0.25 * np.tanh(smooth_field(rng, shape, 12 / spacing)))
    core_distance += smooth_field(rng, shape, 5 / spacing)
    # Oedema spreads along white matter, but not into the ventricles. Bounded noise keeps it connected.
    wander = 0.3 * np.tanh(smooth_field(rng, shape, 14 / spacing))
    reach = distance * (1 + wander) + 9 * tissues.grey + 60 * tissues.csf
    voxels = glioma.volume * 1e3 / spacing**3
    core = _smallest(core_distance, tissues.inside, glioma.core_share * voxels)
    whole = core | _smallest(np.where(core, 0, reach), tissues.inside, voxels)
    label = np.where(whole, np.uint8(OEDEMA), np.uint8(0))
    label[core] = NECROSIS
    if glioma.rim:
        edge = core_distance[core].max()
        thickness = glioma.rim * (1 + 0.5 * smooth_field(rng, shape, 10 / spacing))
        label[core & (core_distance > edge - thickness)] = ENHANCING
    return label


def _distance(rng: np.random.Generator, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Distance from the centre in a randomly stretched space, mm; float32 [x, y, z]."""
    stretch = np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3))
    offset = np.tensordot(stretch.astype(np.float32), points - centre.reshape(3, 1, 1, 1).astype(np.float32), axes=1)
    return np.sqrt((offset**2).sum(axis=0))


def _smallest(values: np.ndarray, where: np.ndarray, count: float) -> np.ndarray:
    """Mask of the `count` voxels with the smallest values inside `where`; bool, same shape."""
    candidates = values[where]
    count = int(np.clip(count, 1, candidates.size - 1))
    return where & (values < np.partition(candidates, count)[count])
