"""Keeps generated structure maps that are as similar to a real map as an unseen patient's maps (beyond the paper).

Algorithm 3 requires a closed outline only, which outlines of other shapes pass as well. This filter compares a map
with real maps by correlation with the nearest one, mirrored or not. Maps are blurred, because no two heads share fine
edges. The threshold is a quantile of the same similarity between real maps of different patients.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import tensorflow as tf

from mmsynth_tf import prepared
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import GenerationConfig, StructureMapConfig
from mmsynth_tf.errors import UserError

# Sigma of the blur before maps are compared, share of their longer side: 1.5 of 64 pixels, with which the filter was
# measured. No two heads share their finest edges.
_BLUR = 1.5 / 64
# Maximum number of real maps, taken at equal distances; larger maps are downsampled.
_MOST_MAPS = 2_048
_MOST_PIXELS = 64
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class MapFilter:
    """Real maps and the least similarity to the nearest of them.

    Attributes:
      descriptions: float32 [N, D], of unit length; see `describe`.
      least: similarity from which a map is accepted, in [-1, 1].
    """

    descriptions: np.ndarray
    least: float

    @classmethod
    def of(
        cls, data: prepared.PreparedData, structure_map: StructureMapConfig, settings: GenerationConfig
    ) -> "MapFilter":
        """The filter by the slices of a data set's training split, of every modality.

        Raises:
          PreparedDataError: the split is empty.
          UserError: all slices are of one patient.
        """
        maps, patients = _real_maps(data, structure_map)
        return cls.from_maps(maps, patients, settings.map_quantile)

    @classmethod
    def from_maps(cls, maps: np.ndarray, patients: Sequence[str], quantile: float) -> "MapFilter":
        """The filter by real maps.

        Args:
          maps: [N, H, W], binary {0, 1}.
          patients: whose they are, N names.
          quantile: fraction of real maps whose similarity to the nearest map of another patient is below the threshold.

        Raises:
          UserError: there is only one patient.
        """
        patients = np.asarray(patients)
        if len(np.unique(patients)) < 2:
            raise UserError(
                "The map filter compares maps of different patients, but all training slices are of one patient. Give "
                "a data set of more patients, or switch the filter off with --config.generation.map_quantile=0."
            )
        own = describe(maps)
        others = patients[:, None] != patients[None]
        similarities = np.maximum(own @ own.T, describe(maps[:, :, ::-1]) @ own.T)
        nearest = np.where(others, similarities, -1.0).max(axis=1)
        return cls(own, float(np.quantile(nearest, quantile)))

    def similarities(self, maps: np.ndarray) -> np.ndarray:
        """Similarity to the nearest real map, mirrored or not: [B, H, W] to float32 [B] in [-1, 1]."""
        both = (describe(versions) for versions in (maps, maps[:, :, ::-1]))
        return np.maximum(*((descriptions @ self.descriptions.T).max(axis=1) for descriptions in both))


def describe(maps: np.ndarray) -> np.ndarray:
    """Blurred and shrunken maps whose products are correlations: [N, H, W] to float32 [N, D]."""
    height, width = maps.shape[1:]
    shrinkage = min(1.0, _MOST_PIXELS / max(height, width))
    size = max(1, round(shrinkage * width)), max(1, round(shrinkage * height))
    pixels = []
    for edges in maps:
        blurred = cv2.GaussianBlur(np.ascontiguousarray(edges, dtype=np.float32), (0, 0), _BLUR * max(height, width))
        pixels.append(cv2.resize(blurred, size, interpolation=cv2.INTER_AREA).ravel())
    deviations = np.stack(pixels) - np.mean(pixels, axis=1, keepdims=True)
    # A map without edges is like no other.
    return deviations / np.maximum(np.linalg.norm(deviations, axis=1, keepdims=True), 1e-6)


def _real_maps(data: prepared.PreparedData, config: StructureMapConfig) -> tuple[np.ndarray, list[str]]:
    """uint8 [N, H, W] maps of slices at equal distances among all of every modality, and N patients."""
    slices = data.slices("train").map(lambda x: {name: x[name] for name in ("image", "available", "patient_id")})
    count = int(slices.reduce(0, lambda total, x: total + tf.reduce_sum(tf.cast(x["available"], tf.int32))))
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_MAPS)).round().astype(int))

    @tf.function(autograph=False)
    def extract(image: tf.Tensor) -> tf.Tensor:
        return tf.cast(structure_maps.structure_map(image, config)[..., 0], tf.uint8)

    maps, patients, first = [], [], 0
    for batch in slices.batch(_BATCH).as_numpy_iterator():
        rows, modalities = np.nonzero(batch["available"])
        wanted = chosen[(chosen >= first) & (chosen < first + len(rows))] - first
        first += len(rows)
        if len(wanted):
            images = batch["image"][rows[wanted], modalities[wanted]].astype(np.float32)
            maps.append(extract(tf.constant(images)).numpy())
            patients += [name.decode() for name in batch["patient_id"][rows[wanted]]]
    return np.concatenate(maps), patients
