"""Representations of slices for the search without alignment: features and structure maps (method §8)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants
from mmsynth_tf.experiments.slice_sets import SliceSet, maps_of
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.metrics import feature_extractors
from mmsynth_tf.metrics.nearest import Described
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

SIDE = 32  # Side to which maps are averaged, pixels, so that a copy is found despite a shift of one or two pixels.

Batch = Mapping[str, np.ndarray]
# Maps a batch to its representation, and to fields that identify each row: patient, case, slice, modality ("" for all).
Describe = Callable[[Batch], tuple[Described, list[Record]]]


def describe_training(train: SliceSet, describe: Describe) -> tuple[Described, list[Record]]:
    """The training slices and their mirror images, as generators are trained on both; rows also have `mirrored`."""
    parts, names = [], []
    for batch in train.batches():
        for mirrored in (False, True):
            image = batch["image"][..., ::-1, :] if mirrored else batch["image"]
            described, own_names = describe({**batch, "image": image})
            parts.append(described)
            names += [{**name, "mirrored": mirrored} for name in own_names]
    return Described.join(parts), names


def describe_maps(
    batch: Batch, settings: configs.StructureMapConfig, modalities: Sequence[str]
) -> tuple[Described, list[Record]]:
    """The input map of a synthetic sample, or the separate maps of all modalities of a real slice."""
    names = names_of(batch)
    if "structure" in batch:
        maps = batch["structure"]
    else:
        present = np.argwhere(batch["available"])
        maps = maps_of(batch, settings).structure[tuple(present.T)][..., None]
        names = [{**names[row], "modality": modalities[index]} for row, index in present]
    small = _averaged(maps.astype(np.float32))[:, None]
    return Described.of(small, np.ones((len(small), small.shape[-1])), np.ones((len(small), 1))), names


def feature_description(request: Request) -> Describe:
    segmenter, _ = runs.load(constants.SEGMENTATION, request.workdir)
    extractor = feature_extractors.SegmenterFeatures(segmenter)

    def describe(batch: Batch) -> tuple[Described, list[Record]]:
        features = extractor(batch["image"])
        return Described.of(features, np.ones((len(features), features.shape[-1])), batch["available"]), names_of(batch)

    return describe


def map_description(request: Request) -> Describe:
    settings = run_folder.read_config(request.workdir / constants.SYNTHESIS).structure_map
    return lambda batch: describe_maps(batch, settings, request.real.config.modalities)


def _averaged(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 1] averaged to `SIDE` pixels a side if they are larger: float32 [N, P]."""
    size = [min(SIDE, extent) for extent in images.shape[1:3]]
    return tf.image.resize(images, size, method="area").numpy().reshape(len(images), -1)


def names_of(batch: Batch) -> list[Record]:
    """Fields that identify each row: patient, case, slice, modality."""
    columns = (batch[name] for name in ("patient_id", "case_id", "slice_index"))
    return [
        {"patient": patient.decode(), "case": case.decode(), "slice": int(number), "modality": ""}
        for patient, case, number in zip(*columns, strict=True)
    ]
