"""Pictures of what a stage makes of a fixed batch, drawn while it trains."""

import numpy as np
import tensorflow as tf

from mmsynth_tf.configs import Config
from mmsynth_tf.generation import generators
from mmsynth_tf.models.modality_gan import ModalityGAN
from mmsynth_tf.models.segmenter import Segmenter
from mmsynth_tf.models.stage import Batch, StageModel
from mmsynth_tf.models.structure_gan import StructureGAN
from mmsynth_tf.reports import figures

_ROWS = 8


def preview(model: StageModel, config: Config, batch: Batch) -> bytes:
    """A PNG of the model's output for the first rows of a training batch."""
    if isinstance(model, StructureGAN):
        return _structure_preview(model, config, batch)
    if isinstance(model, ModalityGAN):
        return _synthesis_preview(model, config, batch)
    if isinstance(model, Segmenter):
        return _segmentation_preview(model, config, batch)
    raise TypeError(f"No preview for {type(model).__name__}.")


def _structure_preview(model: StructureGAN, config: Config, batch: Batch) -> bytes:
    """Real maps and, below, generated ones."""
    threshold = config.generation.structure_threshold
    fake, fake_background = generators.binary_maps(*generators.sample_maps(model, batch["code"], threshold), threshold)
    rows = min(_ROWS, batch["structure"].shape[0])
    return figures.structure_grid(
        _first([batch["structure"], fake], rows), _first([batch["background"], fake_background], rows), columns=rows
    )


def _first(tensors: list[tf.Tensor], rows: int) -> np.ndarray:
    return np.concatenate([np.asarray(t[:rows, ..., 0], np.float32) for t in tensors])


def _synthesis_preview(model: ModalityGAN, config: Config, batch: Batch) -> bytes:
    batch = {name: value[:_ROWS] for name, value in batch.items()}
    return figures.quadruples(
        np.moveaxis(model.synthesize(batch).numpy()[..., 0], 1, -1),
        config.data.modalities,
        batch["fusion_label"].numpy()[..., 0],
        config.data.labels,
        structures=batch["structure"].numpy()[..., 0],
        backgrounds=batch["background"].numpy()[..., 0],
    )


def _segmentation_preview(model: Segmenter, config: Config, batch: Batch) -> bytes:
    """The first slice of each modality."""
    found = model.segment(batch["image"][:1])
    return figures.label_overlays(
        batch["image"].numpy()[0, ..., 0],
        {"reference": batch["label"].numpy()[0, ..., 0], "segmentation": found.numpy()[0, ..., 0]},
        config.data.labels,
        row_names=config.data.modalities,
    )
