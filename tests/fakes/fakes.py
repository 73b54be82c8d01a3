"""Tiny configurations, phantom slices and random batches that the tests share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import literal_method
from benchmarks.made_up_slices import head_slice, slice_source, slices  # noqa: F401 - tests take them from here.
from benchmarks.stage_step import untrained  # noqa: F401 - the same.
from mmsynth_tf import configs, constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.configs.synthesis import SYNTHESIS_FORMULATIONS, FurtherLossWeights, SynthesisChoices
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.stages.structure.gan import StructureGAN, code_dim
from mmsynth_tf.stages.synthesis import contrast, pairs
from mmsynth_tf.stages.synthesis.gan import ModalityGAN

SIZE = 16

_TINY = {
    **literal_method.SETTINGS,
    "data.image_size": (SIZE, SIZE),
    "structure_map.background_expand": 30,  # 2 pixels.
    "structure.batch_size": 2,
    "structure.latent_dim": 4,
    "structure.base_filters": 2,
    "structure.max_filters": 4,
    "structure.discriminator_filters": 2,
    "segmentation.batch_size": 2,
    "segmentation.base_filters": 2,
    "segmentation.levels": 2,
    "joint.batch_size": 2,
    "synthesis.batch_size": 2,
    "synthesis.base_filters": 2,
    "synthesis.discriminator_filters": 2,
    "synthesis.weights.lesion": 1.0,
    "translation.guide_share": 0.0,
}
_TINY_CHOICES = {
    **literal_method.SYNTHESIS_CHOICES,
    "registered": True,
    # Terms of all formulations, of the size of the others, so that a step moves weights by far less than their size.
    "weights": FurtherLossWeights(
        self_reconstruction=5.0,
        self_reconstruction_lesion=5.0,
        self_structure=1.0,
        structure_agreement=1.0,
        contrast=0.0,
        paired_translation=1.0,
        joint_adversarial=1.0,
        discriminator_class_synthetic=1.0,
        discriminator_class_translated=1.0,
        lesion_supervised=1.0,
    ),
    "residual_blocks": 1,
    "pretrained_lesion": False,
    "fusion_noise": False,
    "fusion_concatenate": False,
    "discriminator_normalization": constants.SPECTRAL,
    "discriminator_init_stddev": 0.2,
    "own_class_features": False,
}
_CHOICE = "synthesis__choices__"


def tiny_config(num_modalities: int = 3, num_classes: int = 5, base: Config | None = None, **settings: Any) -> Config:
    """A configuration whose networks train in milliseconds.

    Args:
      num_modalities: n.
      num_classes: K; every lesion class weighs more than background, and each differently.
      base: what is not tiny about it; the defaults unless given.
      **settings: further settings, with `__` in place of the dots of their paths; `synthesis__choices__<name>` is a
        choice of the synthesis stage's formulation; of its weights it names those that change.
    """
    base = base or configs.Config()
    class_weights = tuple(1.0 + c for c in range(num_classes))
    tiny = dataclasses.replace(base.synthesis.choices, class_weights=class_weights, **_TINY_CHOICES)
    choices = {path.removeprefix(_CHOICE): value for path, value in settings.items() if path.startswith(_CHOICE)}
    values = {
        **_TINY,
        "data.modalities": tuple(f"modality_{i}" for i in range(num_modalities)),
        "data.labels": tuple(f"class_{c}" for c in range(num_classes)),
        "data.regions": {"all": tuple(range(1, num_classes))},
        "synthesis.formulation": synthesis_formulation(tiny, **{"weights": {}, **choices}),
        **{path.replace("__", "."): value for path, value in settings.items() if not path.startswith(_CHOICE)},
    }
    return tree.override(base, values)


def synthesis_formulation(base: SynthesisChoices, weights: Mapping[str, float], **changes: Any) -> str:
    """The name of a formulation of this process alone: `base` but for some weights and choices."""
    choices = dataclasses.replace(base, weights=dataclasses.replace(base.weights, **weights), **changes)
    SYNTHESIS_FORMULATIONS[str(choices)] = choices
    return str(choices)


def short_runs(steps: int, interval: int) -> dict[str, int]:
    """Settings for `tiny_config`: every stage trains `steps` steps, with a checkpoint every `interval`."""
    return {**{f"{stage}__steps": steps for stage in constants.STAGES}, "runtime__steps_per_checkpoint": interval}


def lesion_processor(config: Config, design: str) -> LesionProcessor:
    data, settings = config.data, config.segmentation
    return LesionProcessor(
        data.image_size,
        data.num_modalities,
        data.num_classes,
        design=design,
        base_filters=settings.base_filters,
        levels=settings.levels,
        dropout=settings.choices.dropout,
    )


def structure_gan(config: Config) -> StructureGAN:
    return StructureGAN(config.data.image_size, config.structure, config.structure_map)


def segmenter(config: Config) -> Segmenter:
    return Segmenter(config.segmentation, lesion_processor(config, config.segmentation.design))


def joint_segmenter(config: Config) -> JointSegmenter:
    return catalogue.STAGES[constants.JOINT].build(config)


def modality_gan(config: Config) -> ModalityGAN:
    processor = lesion_processor(config, config.segmentation.design)
    return ModalityGAN(config.data, config.structure_map, config.synthesis, processor)


def synthesize(model: ModalityGAN, batch: Batch) -> np.ndarray:
    """What the model makes of a batch's maps and labels: [B, n, H, W, 1]."""
    names = ("structure", "background", "fusion_label", "noise", "contrast")
    return model.synthesize(*(batch[name] for name in names)).numpy()


def unregistered_slices(rng: np.random.Generator, config: Config, batch_size: int) -> Batch:
    """`image` float32 and `label` uint8, [B, n, H, W, 1]; no two slices belong together."""
    n, classes = config.data.num_modalities, config.data.num_classes
    drawn = [head_slice(rng, 1, classes) for _ in range(batch_size * n)]
    shape = (batch_size, n, SIZE, SIZE, 1)
    return {
        "image": tf.constant(np.stack([d["image"] for d in drawn]).reshape(shape), tf.float32),
        "label": tf.constant(np.stack([d["label"] for d in drawn]).reshape(shape)),
    }


def registered_slices(rng: np.random.Generator, config: Config, batch_size: int) -> Batch:
    """`image` float32 [B, H, W, n], of which the second slice lacks a modality, and `label` uint8 [B, H, W, 1]."""
    drawn = [head_slice(rng, config.data.num_modalities, config.data.num_classes) for _ in range(batch_size)]
    image = np.stack([np.moveaxis(d["image"][..., 0], 0, -1) for d in drawn]).astype(np.float32)
    image[1:2, ..., 0] = 0.0
    return {"image": tf.constant(image), "label": tf.constant(np.stack([d["label"] for d in drawn]))}


def structure_batch(rng: np.random.Generator, config: Config, batch_size: int = 2) -> Batch:
    """A batch for `StructureGAN` with random maps."""
    shape = (batch_size, SIZE, SIZE, 1)
    codes = batch_size, code_dim(config.data.image_size, config.structure)
    return {
        "structure": tf.constant(rng.integers(0, 2, shape), tf.float32),
        "background": tf.constant(rng.integers(0, 2, shape), tf.float32),
        "position": tf.constant(np.linspace(0.2, 0.7, batch_size), tf.float32),
        "noise": tf.constant(rng.standard_normal(codes), tf.float32),
        "code": tf.constant(rng.standard_normal(codes), tf.float32),
    }


def synthesis_batch(rng: np.random.Generator, config: Config, batch_size: int = 2) -> Batch:
    """A batch for `ModalityGAN`."""
    n, shape = config.data.num_modalities, (batch_size, SIZE, SIZE, 1)
    maps = (batch_size, 1 if config.synthesis.choices.registered else n, SIZE, SIZE, 1)
    triples = config.synthesis.triples_per_slice
    contrast_size = contrast.size(config.data.num_classes if config.synthesis.choices.contrast_condition else 0)
    if triples:
        source, target = pairs.sampled_pairs(batch_size, n, triples, tf.constant(rng.integers(0, 2**31, 2)))
    else:
        source, target = pairs.exact_pairs(batch_size, n)
    drawn = unregistered_slices(rng, config, batch_size)
    if config.synthesis.choices.registered:
        drawn["label"] = tf.repeat(drawn["label"][:, :1], n, axis=1)
    return {
        **drawn,
        "structure": tf.constant(rng.integers(0, 2, shape), tf.float32),
        "background": tf.constant(rng.integers(0, 2, shape), tf.float32),
        "fusion_label": unregistered_slices(rng, config, batch_size)["label"][:, 0],
        "own_structure": tf.constant(rng.integers(0, 2, maps), tf.float32),
        "own_background": tf.constant(rng.integers(0, 2, maps), tf.float32),
        "pair_source": source,
        "pair_target": target,
        "noise": tf.constant(rng.uniform(size=shape), tf.float32),
        "judged_contrast": tf.constant(rng.uniform(size=(batch_size, 3 * n + source.shape[1], 2)), tf.float32),
        "contrast": tf.constant(rng.standard_normal((batch_size, n, contrast_size)), tf.float32),
    }


# What makes each stage's model and its batches.
STAGES = {
    constants.STRUCTURE: (structure_gan, structure_batch),
    constants.SEGMENTATION: (segmenter, unregistered_slices),
    constants.JOINT: (joint_segmenter, registered_slices),
    constants.SYNTHESIS: (modality_gan, synthesis_batch),
}


def rows(batch: Batch) -> list[Batch]:
    """A batch as batches of one."""
    size = next(iter(batch.values())).shape[0]
    return [{name: value[row : row + 1] for name, value in batch.items()} for row in range(size)]
