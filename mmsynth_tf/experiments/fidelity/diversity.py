"""Diversity of a set of slices: MS-SSIM of random pairs, which is high for generators with mode collapse."""

import collections
from collections.abc import Iterator

import numpy as np

from mmsynth_tf import configs
from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.metrics.images import ms_ssim
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.storage.records import Record

MS_SSIM = "ms-ssim"
PAIRS = 200  # For each modality.
_PAIRS_AT_ONCE = 32

Slice = tuple[int, int]  # Number in the set, index of the modality.


def diversity_records(source: slice_sets.SliceSet, settings: configs.StructureMapConfig, seed: int) -> list[Record]:
    """MS-SSIM of `PAIRS` random pairs of slices from different patients: one record for each modality.

    Each record has the mean (`value`), `std` and `count`. The modality `slice_sets.STRUCTURE_MAP` stands for the
    structure maps of the same pairs. For synthetic samples these are the input maps; for real slices they are
    extracted from the slice's modality.
    """
    modalities = source.data.config.modalities
    pairs = _draw_pairs(source, seed)
    images, maps = _gather({number for pair in pairs for number in pair}, source, settings)
    values = collections.defaultdict(list)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        chunk = pairs[start : start + _PAIRS_AT_ONCE]
        alike, maps_alike = (_similarity(chunk, found) for found in (images, maps))
        for pair, value, map_value in zip(chunk, alike, maps_alike, strict=True):
            values[modalities[pair[0][1]]].append(value)
            values[slice_sets.STRUCTURE_MAP].append(map_value)
    return [
        {**source.key, "metric": MS_SSIM, "modality": modality, **_summary(values[modality])}
        for modality in (*modalities, slice_sets.STRUCTURE_MAP)
    ]


def _similarity(pairs: list[tuple[Slice, Slice]], images: dict[Slice, np.ndarray]) -> np.ndarray:
    first, second = (np.stack([images[pair[side]] for pair in pairs]) for side in (0, 1))
    return ms_ssim(first, second)


def _summary(values: list[float]) -> Record:
    summary = summarise(values)
    return {"value": summary.mean, "std": summary.std, "count": summary.count}


def _draw_pairs(source: slice_sets.SliceSet, seed: int) -> list[tuple[Slice, Slice]]:
    """Draws pairs of slices of one modality from different patients."""
    listed = list(source.slices().map(lambda x: (x["patient_id"], x["available"])).as_numpy_iterator())
    patients, available = (np.array(column) for column in zip(*listed, strict=True))
    rng = np.random.default_rng(seed)
    return [
        ((int(a), index), (int(b), index))
        for index in range(available.shape[1])
        for a, b in _different(np.flatnonzero(available[:, index]), patients, rng)
    ]


def _different(numbers: np.ndarray, patients: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draws up to `PAIRS` pairs; fewer, or none, if almost all slices are of one patient."""
    if not len(numbers):
        return
    drawn = rng.choice(numbers, (4 * PAIRS, 2))
    yield from drawn[patients[drawn[:, 0]] != patients[drawn[:, 1]]][:PAIRS]


def _gather(
    wanted: set[Slice], source: slice_sets.SliceSet, settings: configs.StructureMapConfig
) -> tuple[dict[Slice, np.ndarray], dict[Slice, np.ndarray]]:
    """Reads the wanted slices [H, W], float16, and their structure maps, bool."""
    images, maps = {}, {}
    for number, batch in enumerate(source.batches()):
        first = number * slice_sets.BATCH
        rows = [(row, index) for row, index in np.ndindex(batch["image"].shape[:2]) if (first + row, index) in wanted]
        if "structure" in batch:
            structure = np.broadcast_to(batch["structure"][:, None, ..., 0] > 0, batch["image"].shape[:-1])
        else:
            structure = slice_sets.maps_of(batch, settings).structure
        for row, index in rows:
            images[first + row, index] = batch["image"][row, index, ..., 0].astype(np.float16)
            maps[first + row, index] = structure[row, index]
    return images, maps
