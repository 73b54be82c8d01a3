"""What is compared of slices when copies are searched for: pictures, features, structure maps (method §8)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants
from mmsynth_tf.experiments.slice_sets import STRUCTURE_MAP, SliceSet, maps_of
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.metrics import feature_extractors
from mmsynth_tf.metrics.nearest import Described
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

IMAGE, FEATURES = "image", "features"
SIDE = 32  # Pixels, to which images and maps are averaged: shifts of a pixel or two hide no copy.

Batch = Mapping[str, np.ndarray]
# A batch to what is compared of it, and fields that name each row: patient, case, slice, modality ("" for all of them).
Describe = Callable[[Batch], tuple[Described, list[Record]]]


def spaces(request: Request) -> dict[str, Callable[[], Describe]]:
    """How slices are described in each space; models are loaded when a space is first needed."""
    return {
        IMAGE: lambda: describe_images,
        FEATURES: lambda: _feature_description(request),
        STRUCTURE_MAP: lambda: _map_description(request),
    }


def describe_training(train: SliceSet, describe: Describe) -> tuple[Described, list[Record]]:
    """The training slices and their mirror images, for generators are trained on both; rows also say `mirrored`."""
    parts, names = [], []
    for batch in train.batches():
        for mirrored in (False, True):
            image = batch["image"][..., ::-1, :] if mirrored else batch["image"]
            described, own_names = describe({**batch, "image": image})
            parts.append(described)
            names += [{**name, "mirrored": mirrored} for name in own_names]
    return Described.join(parts), names


def describe_images(batch: Batch) -> tuple[Described, list[Record]]:
    """All modalities together, averaged to `SIDE` pixels, within the head."""
    size, modalities = batch["image"].shape[:2]
    small = _averaged(batch["image"].reshape(-1, *batch["image"].shape[2:])).reshape(size, modalities, -1)
    return Described.of(small, np.any(small > 0, axis=1), batch["available"]), _names(batch)


def describe_maps(
    batch: Batch, settings: configs.StructureMapConfig, modalities: Sequence[str]
) -> tuple[Described, list[Record]]:
    """The map that a sample was made from, or the maps of all modalities of a real slice, each for itself."""
    names = _names(batch)
    if "structure" in batch:
        maps = batch["structure"]
    else:
        present = np.argwhere(batch["available"])
        maps = maps_of(batch, settings).structure[tuple(present.T)][..., None]
        names = [{**names[row], "modality": modalities[index]} for row, index in present]
    small = _averaged(maps.astype(np.float32))[:, None]
    return Described.of(small, np.ones((len(small), small.shape[-1])), np.ones((len(small), 1))), names


def _feature_description(request: Request) -> Describe:
    segmenter, _ = runs.load(constants.SEGMENTATION, request.workdir)
    extractor = feature_extractors.SegmenterFeatures(segmenter)

    def describe(batch: Batch) -> tuple[Described, list[Record]]:
        features = extractor(batch["image"])
        return Described.of(features, np.ones((len(features), features.shape[-1])), batch["available"]), _names(batch)

    return describe


def _map_description(request: Request) -> Describe:
    settings = run_folder.read_config(request.workdir / constants.SYNTHESIS).structure_map
    return lambda batch: describe_maps(batch, settings, request.real.config.modalities)


def _averaged(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 1] averaged to `SIDE` pixels a side, where they are larger: float32 [N, P]."""
    size = [min(SIDE, extent) for extent in images.shape[1:3]]
    return tf.image.resize(images, size, method="area").numpy().reshape(len(images), -1)


def _names(batch: Batch) -> list[Record]:
    columns = (batch[name] for name in ("patient_id", "case_id", "slice_index"))
    return [
        {"patient": patient.decode(), "case": case.decode(), "slice": int(number), "modality": ""}
        for patient, case, number in zip(*columns, strict=True)
    ]
