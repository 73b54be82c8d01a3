"""Distances between sets of slices for each modality, each with a real-versus-real reference."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmsynth_tf.experiments.slice_sets import SliceSet, name_of
from mmsynth_tf.metrics import frechet
from mmsynth_tf.metrics.radiomics_distance import frechet_radiomics_distance
from mmsynth_tf.storage.records import Record

FRECHET_DISTANCE = "frechet distance"
RADIOMICS_DISTANCE = "frechet radiomics distance"
ALL_SLICES = "all slices"
HALVES = "half of the patients against the other half"

Pair = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """Features of a set of slices.

    Attributes:
      key: record fields that identify the set.
      values: float32 [N, n, ...], by slice and modality.
      available: bool [N, n], whether a slice has a modality.
      patients: N patient ids.
    """

    key: dict[str, str]
    values: np.ndarray
    available: np.ndarray
    patients: np.ndarray

    @classmethod
    def of(cls, source: SliceSet, extract: Callable[[np.ndarray], np.ndarray]) -> "FeatureSet":
        """Reads a set; `extract` maps float32 [B, n, H, W, 1] to [B, n, ...]."""
        parts = [(extract(batch["image"]), batch["available"], batch["patient_id"]) for batch in source.batches()]
        return cls(source.key, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return len(self.values)

    def modality(self, index: int) -> np.ndarray:
        """The values of the slices that have a modality: [N', ...]."""
        return self.values[self.available[:, index], index]

    def where(self, chosen: np.ndarray) -> "FeatureSet":
        """The slices for which `chosen`, bool [N], is true."""
        parts = (self.values, self.available, self.patients)
        return FeatureSet(self.key, *(part[chosen] for part in parts))

    def halves(self, seed: int) -> tuple["FeatureSet", "FeatureSet"]:
        """Splits the set into two halves without a common patient."""
        patients = np.random.default_rng(seed).permutation(np.unique(self.patients))
        first = np.isin(self.patients, patients[: len(patients) // 2])
        return self.where(first), self.where(~first)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two sets to compare; `key` holds the record fields that identify them."""

    key: dict[str, str]
    slices: FeatureSet
    reference: FeatureSet


def comparisons(
    train: FeatureSet, unseen: FeatureSet, synthetic: Sequence[FeatureSet], seed: int
) -> Iterator[Comparison]:
    """Pairs the real training slices with every synthetic set, the unseen real slices, and themselves (two halves).

    Distances are larger for smaller sets, so larger synthetic sets are also compared at the size of the unseen set.
    """

    def against(slices: FeatureSet, portion: str) -> Comparison:
        return Comparison({**slices.key, "portion": portion, "reference": name_of(train.key)}, slices, train)

    for samples in synthetic:
        yield against(samples, ALL_SLICES)
        if len(samples) > len(unseen):
            portion = f"as many as {name_of(unseen.key)}"
            yield against(samples.where(np.arange(len(samples)) < len(unseen)), portion)
    yield against(unseen, ALL_SLICES)
    yield Comparison({**train.key, "portion": HALVES, "reference": name_of(train.key)}, *train.halves(seed))


def frechet_distances(pairs: Sequence[Pair]) -> list[Record]:
    """Fréchet distance of each pair of feature sets, float [N, D]; all use the same covariance estimator."""
    dimensions = pairs[0][0].shape[-1]
    estimator = frechet.choose_estimator((len(part) for pair in pairs for part in pair), dimensions)

    def distance(pair: Pair) -> float:
        return frechet.frechet_distance(*(frechet.fit(part, estimator) for part in pair))

    common = {"metric": FRECHET_DISTANCE, "dimensions": dimensions, "covariance": estimator}
    return [{**common, "value": distance(pair)} for pair in pairs]


def radiomics_distances(pairs: Sequence[Pair]) -> list[Record]:
    """Fréchet radiomics distance of each pair of sets of slices, float [N, H, W, 1]."""
    return [
        {"metric": RADIOMICS_DISTANCE, "value": frechet_radiomics_distance(reference[..., 0], slices[..., 0])}
        for slices, reference in pairs
    ]


def distance_records(
    compared: Sequence[Comparison], modalities: Sequence[str], measure: Callable[[Sequence[Pair]], list[Record]]
) -> list[Record]:
    """One record for each comparison and modality, with both counts; NaN if a set has fewer than two slices.

    Args:
      compared: the pairs of sets.
      modalities: names of the modalities.
      measure: `frechet_distances` or `radiomics_distances`.
    """
    rows = []
    for index, modality in enumerate(modalities):
        pairs = [(c.slices.modality(index), c.reference.modality(index)) for c in compared]
        possible = [pair for pair in pairs if min(map(len, pair)) >= 2]
        measured = iter(measure(possible) if possible else [])
        for comparison, pair in zip(compared, pairs, strict=True):
            counts = {"count": len(pair[0]), "reference_count": len(pair[1])}
            found = next(measured) if min(counts.values()) >= 2 else {"value": np.nan}
            rows.append({**comparison.key, "modality": modality, **found, **counts})
    return rows
