"""Generates synthetic volumes: stacks of slices at the positions of a head, all from one latent code.

Models whose structure stage does not know the position follow a smooth path of
codes instead: neighbouring slices are similar, but the stack has no anatomy
along z.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage

from mmsynth_tf import constants
from mmsynth_tf.algorithms import contour_filter, structure_maps
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import consistency, field_of_view, lesions
from mmsynth_tf.patients.files import FileGrid
from mmsynth_tf.patients.slice_models import SliceModels
from mmsynth_tf.reading.release_table import Release

# Grid of BraTS volumes [x, y, z].
_BRATS_SHAPE = (240, 240, 155)
# Number of heads drawn for a case; the one with the best closed outlines is kept (Algorithm 3).
_HEADS = 8

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A synthetic patient; volumes are [x, y, z] in LPS order."""

    images: Mapping[str, np.ndarray]  # float32 in [0, 1], 0 outside the head.
    label: np.ndarray  # uint8, canonical classes.
    preview: Mapping[str, np.ndarray]  # Some slices for `figures.quadruples`.
    record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Generates synthetic patients; case i depends on (seed, i) and the models only.

    Attributes:
      models: with structure and synthesis stages.
      labels: label files to draw from, with the release of their values; if empty, lesions are procedural.
      seed: random seed.
      correlation: standard deviation of the Gaussian that smooths latent codes along z, in slices; for models that do
        not know the position.
      smooth: make neighbouring slices consistent.
      blur: standard deviation of a Gaussian across slices, mm; used with `smooth`.

    Raises:
      UserError: the models cannot sample or synthesise, or it is unknown how high heads are.
    """

    models: SliceModels
    labels: Sequence[tuple[Path, Release]] = ()
    seed: int = 0
    correlation: float = 12.0
    smooth: bool = True
    blur: float = constants.SYNTHESISED_BLUR

    def __post_init__(self):
        self.models.require("sample_structure", "synthesize")
        if not self.models.takes_position:
            _log.warning(
                "The structure stage of these models does not know the position along the head, so volumes have no "
                "anatomy from feet to crown."
            )
            return
        spans, data = self.models.head_slices, self.models.data
        if not spans:
            raise UserError(
                "It is unknown how many slices a head has, because the structure stage was trained on single slices. "
                "Train it on a data set with several slices of each case (--config.data.slices)."
            )
        lowest, highest = (round(float(np.median(ends))) for ends in zip(*spans, strict=True))
        if data.slice_start > lowest or data.slice_stop <= highest:
            _log.warning(
                "The structure stage knows the slices %d to %d, and heads reach from about %d to %d: they are cut off. "
                "Whole heads need a data set of all slices (--config.data.slices).",
                *(data.slice_start, data.slice_stop - 1, lowest, highest),
            )

    @property
    def grid(self) -> FileGrid:
        """The grid of the training volumes: BraTS's grid, or one that spans the models' slices."""
        data = self.models.data
        shape = data.crop_columns[1], data.crop_rows[1], data.slice_stop
        if data.labels == constants.BRATS_LABELS:
            shape = tuple(max(sizes) for sizes in zip(shape, _BRATS_SHAPE, strict=True))
        z, y, x = data.voxel_mm
        affine = np.diag([-x, -y, z, 1.0])
        affine[1, 3] = y * (shape[1] - 1)
        return FileGrid(shape, affine)

    def __call__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        data, grid = self.models.data, self.grid
        count = data.slice_stop - data.slice_start
        view = field_of_view.training_view((*grid.shape[:2], count), data)
        structure, background, errors = self._draw_maps(count, rng)
        head = view.to_volume(1.0 - background) >= 0.5
        label, placement = self._draw_label(head, rng)
        fitted = view.label_slices(label)
        slices = self._synthesize(structure, background, fitted, rng)
        images = {name: self._embed(view.image_volume(made, head), grid) for name, made in slices.items()}
        record = {
            "index": index,
            "label": placement,
            "lesion_pieces": _pieces(label)[1],
            "mask_error": round(float(errors.mean()), 4),
            "roughness": {name: round(consistency.roughness(made), 4) for name, made in slices.items()},
        }
        preview = _preview(structure, background, fitted, slices)
        return Sample(images, self._embed(label, grid), preview, record)

    def _draw_maps(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws binary structure maps and backgrounds [count, H, W], with Algorithm 3's error of those with a head."""
        positions, best = self._draw_positions(count, rng), None
        shown = np.flatnonzero((positions >= 0) & (positions <= 1))
        for _ in range(_HEADS):
            edges, outside = self.models.sample_structure(self._draw_codes(len(shown), rng), positions[shown])
            structure = (edges >= self.models.structure_threshold).astype(np.float32)
            background = (outside >= self.models.background_threshold).astype(np.float32)
            # The mask generator leaves specks beside heads and holes in them.
            head = structure_maps.connected_to(structure[..., None], 1.0 - background[..., None])
            fill_holes = self.models.structure_map.fill_holes
            background = structure_maps.background_mask(head, fill_holes=fill_holes).numpy()[..., 0]
            errors = contour_filter.mask_errors(structure, background)
            if best is None or errors.mean() < best[2].mean():
                best = structure * (1.0 - background), background, errors
        size, (structure, background, errors) = self.models.data.image_size, best
        # Slices beyond the head are empty.
        maps = np.zeros((count, *size), np.float32), np.ones((count, *size), np.float32)
        maps[0][shown], maps[1][shown] = structure, background
        return *maps, errors

    def _draw_positions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The position of each slice along a head that is as high, and lies where, a training patient's does."""
        if not self.models.takes_position:
            return np.linspace(0.0, 1.0, count)
        spans = self.models.head_slices
        lowest, highest = spans[rng.integers(len(spans))]
        return (self.models.data.slice_start + np.arange(count) - lowest) / max(highest - lowest, 1)

    def _draw_codes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The code of each slice [count, L]: one for all if the position changes, otherwise a smooth path."""
        if self.models.takes_position:
            return np.repeat(rng.standard_normal((1, self.models.latent_dim)), count, axis=0)
        return latent_path(count, self.models.latent_dim, self.correlation, rng)

    def _draw_label(self, head: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        if self.labels:
            path, release = self.labels[rng.integers(len(self.labels))]
            lesion = lesions.read(path, release, self.models.data.labels)
        else:
            lesion = lesions.grow(self.models.data.labels, rng)
        label, placement = lesions.place(lesion, head, np.array(self.models.data.voxel_mm[::-1]), rng)
        # A grown lesion is one piece, also where the head's edge cuts it; lesions from files may be several.
        return label if self.labels else _largest_piece(label), placement

    def _synthesize(self, structure, background, label, rng: np.random.Generator) -> dict[str, np.ndarray]:
        made = self.models.synthesize(structure, background, label, rng)
        if not self.smooth:
            return made
        spacing = self.models.data.voxel_mm[0]
        return {name: consistency.smooth(slices, spacing, self.blur) for name, slices in made.items()}

    def _embed(self, slices: np.ndarray, grid: FileGrid) -> np.ndarray:
        """Places the models' slices [x, y, count] in a whole volume."""
        volume = np.zeros(grid.shape, slices.dtype)
        volume[..., self.models.data.slice_start : self.models.data.slice_stop] = slices
        return volume


def latent_path(count: int, latent_dim: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Draws a smooth path of codes; each code is standard normal.

    Args:
      count: number of codes.
      latent_dim: dimensions L of a code.
      correlation: standard deviation of the Gaussian that smooths white noise, in codes.
      rng: source of randomness.

    Returns:
      float32 [count, L]; codes d apart have the correlation exp(-d² / (4 correlation²)).
    """
    if not correlation:
        return rng.standard_normal((count, latent_dim)).astype(np.float32)
    # The margin keeps noise that wraps around away from the path.
    margin = int(np.ceil(4 * correlation))
    impulse = np.zeros(2 * margin + 1)
    impulse[margin] = 1.0
    kernel = scipy.ndimage.gaussian_filter1d(impulse, correlation, mode="constant")
    noise = rng.standard_normal((count + 2 * margin, latent_dim))
    path = scipy.ndimage.convolve1d(noise, kernel / np.linalg.norm(kernel), axis=0)
    return path[margin : margin + count].astype(np.float32)


def _pieces(label: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of the piece of each lesion voxel of a label [x, y, z], from 1, and how many there are (26 neighbours)."""
    return scipy.ndimage.label(label > 0, np.ones((3, 3, 3)))


def _largest_piece(label: np.ndarray) -> np.ndarray:
    pieces, _ = _pieces(label)
    return np.where(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]), label, 0).astype(label.dtype)


def _preview(structure, background, label, slices: Mapping[str, np.ndarray], rows: int = 6) -> dict[str, np.ndarray]:
    shown = np.flatnonzero((background == 0).any(axis=(1, 2)))
    chosen = shown[np.linspace(0, len(shown) - 1, min(rows, len(shown))).astype(int)]
    return {
        "structures": structure[chosen],
        "backgrounds": background[chosen],
        "labels": label[chosen],
        "images": np.stack([made[chosen] for made in slices.values()], axis=-1),
        "row_names": [f"slice {index}" for index in chosen],
    }
