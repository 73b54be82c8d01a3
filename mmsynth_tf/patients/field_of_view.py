"""Resamples the axial slices of a volume to the model's field of view, and results back to the volume.

Volumes are [x, y, z] in LPS order, as `volumes.read_volumes` returns them. The
networks process each slice independently, so only rows and columns are resampled:

- If a volume has the training voxel size and its head fits the training crop,
  slices are cropped exactly as for training.
- Otherwise slices are resampled to the training voxel size, and the head is
  centred in the crop.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.reading import slicing
from mmsynth_tf.reading.geometry import LARGEST_SHARE_CUT_OFF, SAME_SIZE
from mmsynth_tf.reading.scaling import FOREGROUND_MIN


@dataclasses.dataclass(frozen=True)
class Axis:
    """One of the two axes of a slice.

    Attributes:
      voxels: number of the volume's voxels.
      start: position of the crop's first training voxel, in the volume's voxels.
      step: size of a training voxel, in the volume's voxels.
      crop: number of training voxels in the crop.
      pixels: number of the model's pixels, to which the crop is resized.
    """

    voxels: int
    start: float
    step: float
    crop: int
    pixels: int

    @functools.cached_property
    def to_crop(self) -> np.ndarray:
        """Linear resampling to training voxels, with a wider kernel for downsampling; float32 [crop, voxels]."""
        width = max(self.step, 1.0)
        positions = self.start + self.step * np.arange(self.crop)
        distance = np.abs(positions[:, None] - np.arange(self.voxels))
        return (np.maximum(0.0, 1.0 - distance / width) / width).astype(np.float32)

    @functools.cached_property
    def nearest(self) -> np.ndarray:
        """The voxel nearest to each training voxel, -1 outside the volume; int [crop]."""
        positions = np.rint(self.start + self.step * np.arange(self.crop)).astype(int)
        return np.where((positions >= 0) & (positions < self.voxels), positions, -1)

    @functools.cached_property
    def to_volume(self) -> np.ndarray:
        """Linear interpolation from pixels to voxels; float32 [voxels, pixels], rows of 0 outside the crop."""
        positions = np.clip((self._in_crop + 0.5) * self.pixels / self.crop - 0.5, 0, self.pixels - 1)
        weights = np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(self.pixels)))
        return (weights * self.seen[:, None]).astype(np.float32)

    @functools.cached_property
    def seen(self) -> np.ndarray:
        """Which of the volume's voxels lie in the crop; bool [voxels]."""
        return (self._in_crop >= -0.5) & (self._in_crop <= self.crop - 0.5)

    @property
    def _in_crop(self) -> np.ndarray:
        """Positions of the volume's voxels, counted in training voxels from the crop's first."""
        return (np.arange(self.voxels) - self.start) / self.step


@dataclasses.dataclass(frozen=True)
class FieldOfView:
    """Mapping between the slices of one volume and the model's slices."""

    rows: Axis  # y, from anterior to posterior.
    columns: Axis  # x, from the patient's right to left.

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model's slices."""
        return self.rows.pixels, self.columns.pixels

    def image_slices(self, volume: np.ndarray) -> np.ndarray:
        """Resamples a volume to the model's slices.

        Args:
          volume: float32 [x, y, z], 0 outside the head and in [1/256, 1] inside.

        Returns:
          float32 [z, height, width] in the same range.
        """
        slices = volume.transpose(2, 1, 0)
        head = self._to_crop((slices > 0).astype(np.float32))
        mean = self._to_crop(slices) / np.maximum(head, 0.5)
        cropped = np.where(head >= 0.5, np.clip(mean, FOREGROUND_MIN, 1.0), np.float32(0.0))
        return np.stack([slicing.resize_image(image, self.size) for image in cropped])

    def label_slices(self, label: np.ndarray) -> np.ndarray:
        """Resamples a label uint8 [x, y, z] to slices uint8 [z, height, width]."""
        padded = np.pad(label, ((0, 1), (0, 1), (0, 0)))  # Index -1 is background.
        cropped = padded[self.columns.nearest][:, self.rows.nearest].transpose(2, 1, 0)
        return np.stack([slicing.resize_label(image, self.size) for image in cropped])

    def to_volume(self, slices: np.ndarray) -> np.ndarray:
        """Resamples slices, float [n, height, width], to the volume's grid: float32 [x, y, n], 0 outside the crop."""
        return (self.rows.to_volume @ slices.astype(np.float32) @ self.columns.to_volume.T).transpose(2, 1, 0)

    def image_volume(self, slices: np.ndarray, head: np.ndarray) -> np.ndarray:
        """Resamples images to the volume's grid, without a dark rim from interpolation with the background.

        Args:
          slices: float32 [z, height, width], 0 outside the head.
          head: bool [x, y, z], the volume's own head.

        Returns:
          float32 [x, y, z]: in [1/256, 1] in the part of the head that lies in the field of view, 0 elsewhere.
        """
        volume = np.clip(self.to_volume(_fill_outside(slices)), FOREGROUND_MIN, 1.0)
        seen = self.columns.seen[:, None, None] & self.rows.seen[:, None]
        return np.where(head & seen, volume, np.float32(0.0))

    def share_cut_off(self, head: np.ndarray) -> float:
        """The fraction of a head bool [x, y, z] that lies outside the crop."""
        count = np.count_nonzero(head)
        seen = np.count_nonzero(head[self.columns.seen][:, self.rows.seen])
        return 1.0 - seen / max(count, 1)

    def _to_crop(self, slices: np.ndarray) -> np.ndarray:
        return self.rows.to_crop @ slices @ self.columns.to_crop.T


def find(head: np.ndarray, voxel_sizes: Sequence[float], data: DataConfig) -> FieldOfView:
    """Chooses the field of view for a volume.

    Args:
      head: bool [x, y, z].
      voxel_sizes: voxel size of the volume along x and y, mm.
      data: crop, size and voxel size of the slices that the models were trained on.
    """
    _, row, column = data.voxel_mm
    steps = [there / here for there, here in zip((column, row), voxel_sizes, strict=True)]
    if all(abs(step - 1.0) < SAME_SIZE for step in steps):
        steps = [1.0, 1.0]
        view = training_view(head.shape, data)
        fits = data.crop_columns[1] <= head.shape[0] and data.crop_rows[1] <= head.shape[1]
        if fits and view.share_cut_off(head) <= LARGEST_SHARE_CUT_OFF:
            return view
    crops = [stop - start for start, stop in (data.crop_columns, data.crop_rows)]
    # Start at whole voxels, so that a volume of the training voxel size is shifted without interpolation.
    starts = [
        round(centre - step * (crop - 1) / 2) for centre, step, crop in zip(_centre(head), steps, crops, strict=True)
    ]
    return _view(head.shape, starts, steps, data)


def training_view(shape: Sequence[int], data: DataConfig) -> FieldOfView:
    """The field of view of a volume [x, y, z] on the grid of the training volumes."""
    return _view(shape, (data.crop_columns[0], data.crop_rows[0]), (1.0, 1.0), data)


def _view(shape: Sequence[int], starts: Sequence[float], steps: Sequence[float], data: DataConfig) -> FieldOfView:
    crops = [stop - start for start, stop in (data.crop_columns, data.crop_rows)]
    pixels = data.width, data.height
    columns, rows = (Axis(*values) for values in zip(shape[:2], starts, steps, crops, pixels, strict=True))
    return FieldOfView(rows, columns)


def _centre(head: np.ndarray) -> list[float]:
    """Middle of the head's extent along x and y; the volume's middle if there is no head."""
    middles = []
    for axis in (0, 1):
        present = np.flatnonzero(head.any(axis=(1 - axis, 2)))
        ends = (present[0], present[-1]) if present.size else (0, head.shape[axis] - 1)
        middles.append(sum(map(float, ends)) / 2)
    return middles


def _fill_outside(slices: np.ndarray) -> np.ndarray:
    """Gives pixels outside the head the value of the nearest one inside; float32 [z, height, width]."""
    outside = slices == 0
    if outside.all():
        return slices
    nearest = scipy.ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
    return slices[tuple(nearest)]
