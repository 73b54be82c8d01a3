"""Agreement between pairs of modalities of a slice, by measures that no loss contains."""

import collections
import itertools

import numpy as np

from mmsynth_tf import configs
from mmsynth_tf.experiments import slice_sets
from mmsynth_tf.experiments.fidelity.slice_statistics import RunningMoments
from mmsynth_tf.metrics import registration
from mmsynth_tf.storage.records import Record

MUTUAL_INFORMATION = "normalised mutual information"
GRADIENT_CORRELATION = "gradient correlation"


def registration_records(source: slice_sets.SliceSet, settings: configs.StructureMapConfig) -> list[Record]:
    """One record for each measure and pair of modalities, with mean over slices (`value`), `std` and `count`.

    Only pixels in the interior of both modalities' heads are used.
    """
    names = source.data.config.modalities
    pairs = list(itertools.combinations(range(len(names)), 2))
    moments = collections.defaultdict(RunningMoments)
    for batch in source.batches():
        interiors = slice_sets.maps_of(batch, settings).interior
        for images, regions, available in zip(batch["image"][..., 0], interiors, batch["available"], strict=True):
            correlations = registration.gradient_correlation(images, regions)
            for i, j in pairs:
                if available[i] and available[j]:
                    shared = regions[i] & regions[j]
                    information = registration.mutual_information(images[i][shared], images[j][shared])
                    _add(moments[MUTUAL_INFORMATION, (i, j)], information)
                    _add(moments[GRADIENT_CORRELATION, (i, j)], correlations[i, j])
    return [
        {
            **source.key,
            "metric": metric,
            "modality": f"{names[i]}–{names[j]}",
            "value": found.mean if found.count else np.nan,
            "std": found.std,
            "count": found.count,
        }
        for (metric, (i, j)), found in moments.items()
    ]


def _add(moments: RunningMoments, value: float) -> None:
    if not np.isnan(value):
        moments.add(np.array([value]))
