"""Compiled training steps on made-up batches, also in the literal form of the same losses."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks import literal_method, made_up_slices
from mmsynth_tf import constants
from mmsynth_tf.configs import Config
from mmsynth_tf.models.stage import Batch, StageModel
from mmsynth_tf.stages import catalogue
from mmsynth_tf.training import precision, run_folder, runs


def model(stage: str, config: Config) -> StageModel:
    """A stage's untrained model with its optimizers; equal configurations give equal weights."""
    tf.keras.utils.set_random_seed(config.runtime.seed)
    with precision.policy(config.runtime.precision):
        built = catalogue.STAGES[stage].build(config)
        built.compile(catalogue.STAGES[stage].optimizers(config))
    return built


def untrained(stage: str, config: Config, workdir: Path, trained_on: Sequence[Mapping[str, Any]]) -> runs.Run:
    """A stage in a work directory with what training leaves there, but for a checkpoint.

    Args:
      stage: its name.
      config: settings.
      workdir: the work directory.
      trained_on: records of the data sets that it shall seem to be trained on.
    """
    folder = workdir / stage
    run_folder.describe_run(folder, stage, config, list(trained_on))
    return runs.Run(stage, config, folder, tf.distribute.get_strategy())


def literal_model(stage: str, config: Config, batch: Batch) -> StageModel:
    """The same model with losses and layers as `benchmarks.literal_method` spells them out, pair by pair."""
    literal = model(stage, config)
    pairs = (
        literal_method.drawn_pairs(batch)
        if stage == constants.SYNTHESIS and config.synthesis.triples_per_slice
        else None
    )
    terms: dict[str, Callable[[Batch], dict[str, tf.Tensor]]] = {
        constants.STRUCTURE: lambda rows: literal_method.structure_terms(literal, rows, training=True),
        constants.SEGMENTATION: lambda rows: literal_method.segmentation_terms(literal, rows),
        constants.SYNTHESIS: lambda rows: literal_method.ModalityOracle(literal, rows, pairs, training=True).terms(),
    }

    def loss_terms(rows: Batch, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with literal_method.plain_layers():
            return terms[stage](rows)

    literal.forward = lambda rows, training: {}
    literal.loss_terms = loss_terms
    return literal


def batches(stage: str, config: Config) -> tf.data.Dataset:
    """The stage's batches of made-up slices, by its own input pipeline."""
    source = catalogue.STAGES[stage].source([made_up_slices.slices(5, config)], config)
    return catalogue.STAGES[stage].batches(source, config)


def one_batch(stage: str, config: Config) -> Batch:
    """A batch whose rows all have the modality pairs of the first."""
    batch = next(iter(batches(stage, config)))
    shared = {name: tf.repeat(batch[name][:1], len(batch[name]), axis=0) for name in batch if name.startswith("pair_")}
    return {**batch, **shared}


class Step:
    """A model's compiled step on one device, always on the same batch."""

    def __init__(self, trained: StageModel, batch: Batch, jit_compile: bool = False):
        self._compiled = tf.function(trained.train_step, autograph=False, jit_compile=jit_compile)
        self._batch = batch

    def __call__(self) -> dict[str, float]:
        """Runs a step; returns what it reports."""
        return {name: float(value) for name, value in self._compiled(self._batch).items()}

    @property
    def graph(self) -> tf.Graph:
        return self._compiled.get_concrete_function(self._batch).graph
