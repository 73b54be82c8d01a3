"""The structure stage: its batches and preview (method §3)."""

import dataclasses

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import fusion, structure_maps
from mmsynth_tf.configs import Config
from mmsynth_tf.input_pipeline import CODE, SliceSource, batches, draw_modality, step_seed
from mmsynth_tf.models import adam
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.reports import figures
from mmsynth_tf.stages.base import LEARNING, PREVIEW_ROWS, Stage
from mmsynth_tf.stages.structure import gan
from mmsynth_tf.stages.structure.gan import StructureGAN

# Of Adam, from paper §3.1; the learning rates are constant, as in the paper.
_BETA_1 = 0.5
# The flow is small, and the distribution of codes changes while the encoder trains.
_FLOW_LEARNING_RATE = 1e-3


def structure_batches(source: SliceSource, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Batches for `StructureGAN` from step `start_step` on."""
    size, code_dim = config.structure.batch_size, gan.code_dim(config.data.image_size, config.structure)
    # Generated heads should be upright, so slices are only mirrored, whatever `augmentation` is in the other stages.
    config = dataclasses.replace(config, augmentation=config.augmentation.times(0.0))

    def finish(batch: Batch, step: tf.Tensor) -> Batch:
        modality = draw_modality(size, config, step)
        drawn = {name: tf.gather(batch[name], modality, batch_dims=1) for name in source.features}
        image, label = drawn["image"], drawn["label"]
        background = _background(image, config)
        edges = structure_maps.structure_map(image, config.structure_map)
        if config.structure.choices.erase_lesion:
            edges = fusion.remove_lesion_edges(edges, label)
        codes = tf.random.stateless_normal([2, size, code_dim], step_seed(config, step, CODE))
        return {
            "structure": edges,
            "background": background,
            "position": drawn["position"] if config.structure.choices.position else tf.zeros([size]),
            "noise": codes[0],
            "code": codes[1],
        }

    return batches(source, config, size, start_step, finish, config.structure.choices.augmentation)


def _background(image: tf.Tensor, config: Config) -> tf.Tensor:
    return structure_maps.background_of(image, config.structure_map)


def structure_preview(model: StructureGAN, config: Config, batch: Batch) -> bytes:
    """Real maps and, below, generated ones."""
    fake, fake_background = model.sample_binary(batch["code"], batch["position"])
    rows = min(PREVIEW_ROWS, batch["structure"].shape[0])
    return figures.structure_grid(
        _first([batch["structure"], fake], rows), _first([batch["background"], fake_background], rows), columns=rows
    )


def _first(tensors: list[tf.Tensor], rows: int) -> np.ndarray:
    return np.concatenate([np.asarray(t[:rows, ..., 0], np.float32) for t in tensors])


def _optimizers(config: Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    settings = config.structure
    rates = {"generator": settings.learning_rate, "discriminator": settings.discriminator_learning_rate}
    if settings.choices.match_codes:
        rates["flow"] = _FLOW_LEARNING_RATE
    return adam.optimizers(rates, _BETA_1, 0, config)


def _features(config: Config) -> tuple[str, ...]:
    return ("position",) if config.structure.choices.position else ()


STAGE = Stage(
    build=lambda config: StructureGAN(config.data.image_size, config.structure, config.structure_map),
    batches=structure_batches,
    settings=lambda config: config.structure,
    depends_on=("data.", "structure_map.", "structure.", *LEARNING),
    optimizers=_optimizers,
    preview=structure_preview,
    slices_per_row=lambda config: 1,
    features=_features,
)
