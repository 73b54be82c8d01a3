"""Statistics of registered slices: agreement of modalities, tissue correlation, edges, head area and intensities."""

import collections
import itertools
from collections.abc import Iterator

import numpy as np

from mmsynth_tf import configs
from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.metrics import registration
from mmsynth_tf.metrics.segmentation import dice
from mmsynth_tf.storage.records import Record

REGISTRATION = "registration dice"
EDGE_DENSITY = "edge density"
HEAD_AREA = "head area"
INTENSITY = "intensity"
NORMAL_TISSUE = "normal tissue"
CORRELATION = "tissue correlation"
# Share of a slice's pixels. Slices with less normal tissue, near the crown, are left out of the correlation.
_LEAST_TISSUE = 0.05


class RunningMoments:
    """Mean and standard deviation of values that arrive in chunks."""

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Adds values float [N], any N (the update of Chan et al., 1979, avoids cancellation)."""
        values = np.asarray(values, np.float64)
        if not values.size:
            return
        mean, total = values.mean(), self.count + values.size
        difference = mean - self.mean
        self._squares += np.sum((values - mean) ** 2) + difference**2 * self.count * values.size / total
        self.mean += difference * values.size / total
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation (n - 1); NaN for fewer than two values."""
        return float(np.sqrt(self._squares / (self.count - 1))) if self.count > 1 else np.nan


def statistics_records(source: slice_sets.SliceSet, settings: configs.StructureMapConfig) -> list[Record]:
    """One record for each metric, modality and region, with mean (`value`), `std` and `count`.

    Registration is the Dice of the structure maps of two modalities of a slice. Edge density is the fraction of the
    head's pixels that are edges; head area is the fraction of the slice's pixels. Tissue correlation is Pearson's
    correlation of two modalities over the normal tissue of a labelled slice. The modality
    `slice_sets.STRUCTURE_MAP` has both for the input maps of samples, and for all maps of real slices. Intensities
    are over all pixels of a region in the head's interior, for slices with a label.
    """
    moments = collections.defaultdict(RunningMoments)
    for batch in source.batches():
        for key, values in _measure(batch, source.data.config, settings):
            moments[key].add(values)
    return [
        {
            **source.key,
            "metric": metric,
            "modality": modality,
            "region": region,
            "value": found.mean if found.count else np.nan,
            "std": found.std,
            "count": found.count,
        }
        for (metric, modality, region), found in moments.items()
    ]


Measured = Iterator[tuple[tuple[str, str, str], np.ndarray]]


def _measure(batch: dict[str, np.ndarray], data: configs.DataConfig, settings: configs.StructureMapConfig) -> Measured:
    """(metric, modality, region) to the values in a batch, float [N]."""
    maps = slice_sets.maps_of(batch, settings)
    yield from _registration(maps, batch["available"], data.modalities)
    for index, modality in enumerate(data.modalities):
        present = batch["available"][:, index]
        found = maps.structure[present, index], maps.head[present, index]
        yield from _shape(*found, modality)
        if "structure" not in batch:
            yield from _shape(*found, slice_sets.STRUCTURE_MAP)
    if "structure" in batch:
        yield from _shape(batch["structure"][..., 0] > 0, batch["background"][..., 0] == 0, slice_sets.STRUCTURE_MAP)
    yield from _intensities(batch, maps.interior, data)
    yield from _correlations(batch, maps.interior, data.modalities)


def _registration(maps: slice_sets.Maps, available: np.ndarray, modalities: tuple[str, ...]) -> Measured:
    for i, j in itertools.combinations(range(len(modalities)), 2):
        both = available[:, i] & available[:, j]
        pairs = zip(maps.structure[both, i], maps.structure[both, j], strict=True)
        agreement = np.array([dice(a, b) for a, b in pairs])
        yield (REGISTRATION, f"{modalities[i]}–{modalities[j]}", ""), agreement[~np.isnan(agreement)]


def _shape(structure: np.ndarray, head: np.ndarray, modality: str) -> Measured:
    """Edge density and head area, from bool [B, H, W]."""
    area, edges = (np.sum(part, axis=(1, 2)) for part in (head, structure & head))
    yield (EDGE_DENSITY, modality, ""), edges[area > 0] / area[area > 0]
    yield (HEAD_AREA, modality, ""), area / np.prod(head.shape[1:])


def _intensities(batch: dict[str, np.ndarray], interior: np.ndarray, data: configs.DataConfig) -> Measured:
    names = (NORMAL_TISSUE, *data.labels[1:])
    for index, modality in enumerate(data.modalities):
        present = batch["available"][:, index] & batch["has_label"]
        image, inside = batch["image"][present, index, ..., 0], interior[present, index]
        for value, name in enumerate(names):
            yield (INTENSITY, modality, name), image[(batch["label"][present, ..., 0] == value) & inside]


def _correlations(batch: dict[str, np.ndarray], interior: np.ndarray, modalities: tuple[str, ...]) -> Measured:
    healthy = (batch["label"][..., 0] == 0) & batch["has_label"][:, None, None]
    for i, j in itertools.combinations(range(len(modalities)), 2):
        tissue = healthy & interior[:, i] & interior[:, j]
        large = batch["available"][:, i] & batch["available"][:, j] & (tissue.mean(axis=(1, 2)) >= _LEAST_TISSUE)
        chosen = zip(batch["image"][large, i, ..., 0], batch["image"][large, j, ..., 0], tissue[large], strict=True)
        found = np.array([registration.correlation(a[inside], b[inside]) for a, b, inside in chosen])
        yield (CORRELATION, f"{modalities[i]}–{modalities[j]}", ""), found[~np.isnan(found)]
