"""The synthesis stage: its batches and preview (method §6)."""

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import fusion, warping
from mmsynth_tf.configs import Config
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.input_pipeline import (
    CONTRAST,
    JUDGED,
    LABEL,
    LABEL_TRANSFORM,
    NOISE,
    PAIRS,
    SliceSource,
    batches,
    draw_modality,
    is_whole,
    registered_source,
    step_seed,
)
from mmsynth_tf.models import adam, passes
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.reports import figures
from mmsynth_tf.stages.base import LEARNING, PREVIEW_ROWS, LoadStage, Stage, each_modality
from mmsynth_tf.stages.segmentation.stage import lesion_processor
from mmsynth_tf.stages.synthesis import contrast, pairs
from mmsynth_tf.stages.synthesis.gan import ModalityGAN

_LOG = logging.getLogger(__name__)
_UNREGISTERED_FLAG = f"--config.synthesis.formulation={constants.UNREGISTERED}"
# Of Adam, from paper §3.1.
_BETA_1 = 0.5


def synthesis_batches(source: SliceSource, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Batches for `ModalityGAN` from step `start_step` on."""
    contrast_size = contrast.size(config.data.num_classes if config.synthesis.choices.contrast_condition else 0)
    size, n, triples = config.synthesis.batch_size, config.data.num_modalities, config.synthesis.triples_per_slice

    def finish(batch: Batch, step: tf.Tensor) -> Batch:
        source = draw_modality(size, config, step)
        if config.synthesis.choices.registered:
            batch = _by_modality(batch, n)
        own = _own_maps(batch, source, config)
        own_map = source % own["own_structure"].shape[1]
        own_label, structure_map, background = (tf.gather(value, own_map, batch_dims=1) for value in own.values())
        transforms = warping.random_transforms(
            size * n, config.data.image_size, config.augmentation, step_seed(config, step, LABEL_TRANSFORM)
        )
        candidates = warping.transform(passes.merge(own["label"]), transforms, "NEAREST")
        chosen, _ = fusion.choose_labels(background, candidates, own_label, step_seed(config, step, LABEL))
        if triples:
            pair_source, pair_target = pairs.sampled_pairs(size, n, triples, step_seed(config, step, PAIRS))
        else:
            pair_source, pair_target = pairs.exact_pairs(size, n)
        if config.synthesis.choices.erase_under_label:
            structure_map = fusion.remove_lesion_edges(structure_map, chosen)
        return {
            **batch,
            **own,
            "structure": structure_map,
            "background": background,
            "fusion_label": chosen,
            "pair_source": pair_source,
            "pair_target": pair_target,
            "noise": tf.random.stateless_uniform(background.shape, step_seed(config, step, NOISE)),
            "judged_contrast": tf.random.stateless_uniform(
                [size, 3 * n + pair_source.shape[1], 2], step_seed(config, step, JUDGED)
            ),
            "contrast": contrast.draw([size, n, contrast_size], step_seed(config, step, CONTRAST)),
        }

    return batches(source, config, size, start_step, finish, config.synthesis.choices.augmentation)


def _by_modality(batch: Batch, modalities: int) -> Batch:
    """Registered slices [B, 1, H, W, n] and their labels [B, 1, H, W, 1] as slices and labels [B, n, H, W, 1]."""
    image = tf.transpose(batch["image"], [0, 4, 2, 3, 1])
    return {**batch, "image": image, "label": tf.repeat(batch["label"], modalities, axis=1)}


def _own_maps(batch: Batch, source: tf.Tensor, config: Config) -> Batch:
    """Maps and masks that rebuild a batch's slices.

    Args:
      batch: `image` and `label` [B, n, H, W, 1].
      source: int32 [B], the modality whose map rebuilds all modalities of a registered slice.
      config: settings.

    Returns:
      `label` [B, n, H, W, 1], 0 outside the head; `own_structure` and `own_background` [B, k, H, W, 1].
    """
    image, label = batch["image"], batch["label"]
    if config.synthesis.choices.registered:
        image, label = (tf.gather(value, source[:, None], batch_dims=1) for value in (image, label))
    n, k = config.data.num_modalities, image.shape[1]
    own = fusion.own_map(passes.merge(image), passes.merge(label), config.structure_map)
    label, structure_map, background = (passes.separate(value, k) for value in own)
    return {
        "label": tf.repeat(label, n // k, axis=1),
        "own_structure": structure_map,
        "own_background": background,
    }


def synthesis_preview(model: ModalityGAN, config: Config, batch: Batch) -> bytes:
    """Slices of all modalities, with the maps and labels from which they are synthesised."""
    batch = {name: value[:PREVIEW_ROWS] for name, value in batch.items()}
    made = model.synthesize(
        batch["structure"], batch["background"], batch["fusion_label"], batch["noise"], batch["contrast"]
    )
    return figures.quadruples(
        np.moveaxis(made.numpy()[..., 0], 1, -1),
        config.data.modalities,
        batch["fusion_label"].numpy()[..., 0],
        config.data.labels,
        structures=batch["structure"].numpy()[..., 0],
        backgrounds=batch["background"].numpy()[..., 0],
    )


def _build(config: Config) -> ModalityGAN:
    processor = lesion_processor(config, config.segmentation.design)
    return ModalityGAN(config.data, config.structure_map, config.synthesis, processor)


def _make_source(slices: Sequence[tf.data.Dataset], config: Config) -> SliceSource:
    if not config.synthesis.choices.registered:
        return each_modality(slices, config)
    source = registered_source(slices, config.runtime.cache, whole=True)
    if lacking := source.total - source.counts[0]:
        _LOG.warning(
            "%d of %d labelled training slices lack a modality, and the synthesis stage leaves them out. With %s "
            "it learns from all, but not how the modalities of a slice go together.",
            lacking,
            source.total,
            _UNREGISTERED_FLAG,
        )
    return source


def _refuse(slices: Sequence[tf.data.Dataset], config: Config) -> None:
    if not config.synthesis.choices.registered or any(list(s.filter(is_whole).take(1)) for s in slices):
        return
    raise UserError(
        "No labelled training slice has all modalities, so the synthesis stage cannot learn how these go together. "
        f"Where they come from different patients, train with {_UNREGISTERED_FLAG}."
    )


def _optimizers(config: Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    settings, choices = config.synthesis, config.synthesis.choices
    rates = {"generator": settings.learning_rate, "discriminator": settings.discriminator_learning_rate}
    if not choices.pretrained_lesion:
        rates["lesion"] = choices.lesion_learning_rate
    return adam.optimizers(rates, _BETA_1, settings.steps if choices.cosine_decay else 0, config)


def _install_segmenters(model: ModalityGAN, config: Config, load: LoadStage) -> None:
    """Gives the modality GAN the trained segmenters of the same work directory as lesion processors.

    Raises:
      WorkDirError: the segmenters are missing or have another shape.
    """
    if not config.synthesis.choices.pretrained_lesion:
        return
    segmenter, trained = load(constants.SEGMENTATION)
    same_design = trained.segmentation.design == config.segmentation.design
    source, target = segmenter.lesion_processor.weights, model.lesion_processor.weights
    if not same_design or [v.shape for v in source] != [v.shape for v in target]:
        raise WorkDirError(
            "The segmenters in the work directory have another design or size than the lesion processors of the "
            "synthesis stage. Train both stages with the same config.segmentation settings."
        )
    for a, b in zip(source, target, strict=True):
        b.assign(a)


STAGE = Stage(
    build=_build,
    batches=synthesis_batches,
    settings=lambda config: config.synthesis,
    depends_on=("data.", "structure_map.", "segmentation.", "synthesis.", *LEARNING),
    optimizers=_optimizers,
    preview=synthesis_preview,
    slices_per_row=lambda config: config.data.num_modalities,
    make_source=_make_source,
    refuse=_refuse,
    install=_install_segmenters,
)
