"""Exported models without networks: each function does something that can be seen in its output."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mmsynth_tf import configs
from mmsynth_tf.export import saved_models
from mmsynth_tf.patients.slice_models import SliceModels

DATA = configs.DataConfig(slices=(2, 8, 1), crop_rows=(0, 32), crop_columns=(0, 28), image_size=(32, 28))
LATENT_DIM = 3


def slice_models(
    data: configs.DataConfig = DATA,
    without: tuple[str, ...] = (),
    draws_lesions: bool = False,
    certainty: Mapping[str, float] | None = None,
    guided: bool = True,
    joint: bool = False,
    head_slices: Mapping[str, tuple[int, int]] | None = None,
) -> SliceModels:
    """Translation is the mean of the given slices, segmenters find class 4 where a slice is brighter than 0.7.

    They give it the `certainty` of their modality, 1 unless said, and the background the rest.

    If it `draws_lesions` translation shows nothing but the label, as class / 10, on 0.1 in the head.

    Synthesised slices show the label's class, as class / 10, on 0.5 in the head; maps are outlines of discs whose
    size follows from the code.

    If not `guided` translations do not go by the given slice. A `joint` segmenter finds class 4 where the modalities
    that are given add up to more than 1, as surely as `certainty["joint"]`.

    With `head_slices` of training cases the maps are made for positions: discs are those of a ball's slices.
    """
    how = configs.TranslationConfig(guide_share=0.7 if guided else 0.0)
    settings = dataclasses.asdict(configs.Config(data=data, translation=how))
    functions = {
        "translate": lambda images, target, label=None: {"image": _translated(np.asarray(images), label)},
        "synthesize": lambda structure, background, label: {
            name: (0.5 - np.asarray(label) / 10.0) * (1.0 - np.asarray(background)) for name in data.modalities
        },
        "sample_structure": lambda code: _discs(np.asarray(code), data.image_size),
        **{f"segment_{name}": _finder(data, (certainty or {}).get(name, 1.0)) for name in data.modalities},
    }
    if head_slices is not None:
        functions["sample_structure"] = lambda code, position: _discs(np.asarray(code), data.image_size, position)
    if joint:
        find = _finder(data, (certainty or {}).get("joint", 1.0), least=1.0)
        functions["segment"] = lambda images: find(np.sum(images, axis=-1, keepdims=True))
    functions = {name: function for name, function in functions.items() if name not in without}
    inputs = {name: {} for name in functions}
    if draws_lesions:
        inputs["translate"] = {"label": {}}
    if head_slices is not None:
        inputs["sample_structure"] = {"position": {}}
    trained_on = [{"split": {"train": list(head_slices or ())}, "head_slices": head_slices}]
    metadata = {
        "latent_dim": LATENT_DIM,
        "thresholds": {"structure": 0.5, "background": 0.5},
        "signatures": {name: {"inputs": values} for name, values in inputs.items()},
        "stages": {
            stage: {"config": settings, "checkpoint_sha256": "abc", "trained_on": trained_on}
            for stage in (("synthesis",) if head_slices is None else ("structure", "synthesis"))
        },
    }
    return SliceModels(saved_models.ExportedModels(functions, metadata, None), "models/a")


def _finder(data: configs.DataConfig, certainty: float, least: float = 0.7):
    def find(image: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = np.zeros((*np.shape(image)[:-1], data.num_classes), np.float32)
        probabilities[..., -1] = certainty * (np.asarray(image)[..., 0] > least)
        probabilities[..., 0] = 1.0 - probabilities[..., -1]
        return {"probabilities": probabilities}

    return find


def _translated(images: np.ndarray, label: np.ndarray | None) -> np.ndarray:
    given = (images > 0).sum(axis=-1, keepdims=True)
    mean = images.sum(axis=-1, keepdims=True) / np.maximum(given, 1)
    made = mean if label is None else 0.1 + np.asarray(label) / 10.0
    return np.where(given > 0, made, 0.0).astype(np.float32)


def _discs(codes: np.ndarray, size: tuple[int, int], positions: np.ndarray | float = 0.5) -> dict[str, np.ndarray]:
    rows, columns = np.indices(size)
    distance = np.hypot(rows - size[0] / 2, columns - size[1] / 2)
    positions = np.broadcast_to(np.asarray(positions), len(codes))[:, None, None]
    radius = 2 * np.sqrt(positions * (1 - positions)) * (0.38 * min(size) + np.tanh(codes[:, :1, None]))
    structure = np.abs(distance - radius) < 1.0
    return {
        "structure": structure[..., None].astype(np.float32),
        "background": (distance > radius)[..., None].astype(np.float32),
    }
