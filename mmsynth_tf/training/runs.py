"""Trains a stage: strategy, checkpoints, moving average, logs."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from mmsynth_tf import configs, input_pipeline, prepared
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.stages import catalogue
from mmsynth_tf.training import checkpoints, devices, loop, memory, precision, run_folder, weight_average
from mmsynth_tf.training.loop import Batches

# Checkpoints kept: the newest, and the one before it in case the newest gets damaged.
_CHECKPOINTS = 2
_LOG = logging.getLogger(__name__)


def train(
    stage: str,
    config: configs.Config,
    data: Sequence[prepared.PreparedData],
    workdir: str | pathlib.Path,
    batches: Batches | None = None,
) -> None:
    """Trains a stage, from its newest checkpoint if there is one.

    Leaves in ``<workdir>/<stage>``: config.json, choices.json, trained_on.json, checkpoints/, losses.csv, tensorboard/,
    previews/.

    Args:
      stage: one of `constants.STAGES`.
      config: settings; its data settings are replaced by those of `data`.
      data: training slices come from the train splits of all of these.
      workdir: parent of the stage's folder.
      batches: what to train on instead of all slices of `data`, some or all of which it must be made of.

    Raises:
      UserError: the settings do not fit the number of devices, or need clearly more memory than there is.
      WorkDirError: the folder holds a run with other settings.
      LockedError: another process trains there.
    """
    first, *others = data
    config = dataclasses.replace(config, data=first.config)
    for other in others:
        prepared.require_same_geometry(other, config.data, str(first.path))
    folder = pathlib.Path(workdir) / stage
    settings = catalogue.STAGES[stage].settings(config)
    replicas = devices.strategy().num_replicas_in_sync
    settings.require_consistent(replicas)
    if config.runtime.jit_compile and replicas > 1:
        raise UserError(
            f"XLA compiles steps for one device, and there are {replicas}. Leave --config.runtime.jit_compile out, or "
            "hide the others with CUDA_VISIBLE_DEVICES."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with devices.output_folder(folder, devices.strategy()) as output, precision.policy(config.runtime.precision):
        data_records = [d.record for d in data]
        run_folder.require_same_run(folder, config, catalogue.STAGES[stage].depends_on, data_records)
        if not checkpoints.paths(folder):  # Until there is one there is nothing to protect.
            run_folder.describe_run(output, stage, config, data_records)
        run = Run(stage, config, folder, devices.strategy(), output)
        start = run.checkpoints.restore()
        if not start:
            run.stage.install(run.model, config, functools.partial(load, workdir=workdir))
        if start >= settings.steps:
            _LOG.info("%s: all %d steps are done.", stage, settings.steps)
            return
        memory.require_memory(stage, config, devices.training_device())
        _LOG.info("%s: training from step %d to %d.", stage, start, settings.steps)
        run.fit(batches or _batches_of_all(stage, config, data))


def require_slices(stage: str, config: configs.Config, data: Sequence[prepared.PreparedData]) -> None:
    """Refuses data sets that cannot train a stage, without reading more of them than that takes.

    Raises:
      UserError: training slices lack what the stage learns from.
    """
    catalogue.STAGES[stage].refuse(_slices(stage, config, data), config)


def _batches_of_all(stage: str, config: configs.Config, data: Sequence[prepared.PreparedData]) -> Batches:
    """The stage's batches, drawn from all training slices of all data sets."""
    require_slices(stage, config, data)
    source = catalogue.STAGES[stage].source(_slices(stage, config, data), config)
    return functools.partial(catalogue.STAGES[stage].batches, source, config)


def _slices(stage: str, config: configs.Config, data: Sequence[prepared.PreparedData]) -> list[tf.data.Dataset]:
    further = catalogue.STAGES[stage].features(config)
    return [input_pipeline.training_features(d.slices("train"), *further) for d in data]


class Run:
    """A stage's model with its optimizers, moving average and checkpoints.

    Args:
      stage: one of `constants.STAGES`.
      config: settings.
      folder: checkpoints are restored from here.
      distribution: trains it.
      output: gets what training leaves; `folder` if not given.
    """

    def __init__(
        self,
        stage: str,
        config: configs.Config,
        folder: pathlib.Path,
        distribution: tf.distribute.Strategy,
        output: pathlib.Path | None = None,
    ):
        self.stage, self.config, self.output = catalogue.STAGES[stage], config, output or folder
        self.settings = self.stage.settings(config)
        self.distribution = distribution
        tf.keras.utils.set_random_seed(config.runtime.seed)
        with distribution.scope():
            self.model = self.stage.build(config)
            self.model.compile(self.stage.optimizers(config), jit_compile=config.runtime.jit_compile)
            self.average = weight_average.WeightAverage(self.model, config.runtime.ema_decay)
        state = {
            "average": self.average.shadows,
            "optimizers": dict(self.model.optimizers),
            # By their order: Keras would count the layers without weights as well, and weights be restored into other
            # layers where a version has other ones of these.
            "networks": {name: list(network.weights) for name, network in self.model.networks.items()},
            "statistics": list(self.model.statistics),
        }
        num_terms = len(self.model.terms)
        self.checkpoints = checkpoints.Checkpoints(folder, _CHECKPOINTS, state, num_terms, self.output)

    def fit(self, batches: Batches) -> None:
        """Trains from the restored step to the last one, saving after every `runtime.steps_per_checkpoint`."""
        # The same inputs in every preview, also after a restart.
        fixed_batch = next(iter(batches(0)))
        loop.fit(
            self.model,
            batches,
            self.checkpoints,
            self.output,
            steps=self.settings.steps,
            interval=self.config.runtime.steps_per_checkpoint,
            slices_per_step=self.settings.batch_size * self.stage.slices_per_row(self.config),
            draw=lambda: self._draw(fixed_batch),
            after_step=self.average.update,
        )

    def _draw(self, batch) -> bytes:
        with self.average.applied():
            return self.stage.preview(self.model, self.config, batch)


def load(stage: str, workdir: str | pathlib.Path) -> tuple[StageModel, configs.Config]:
    """Loads a trained stage with its averaged weights.

    Raises:
      WorkDirError: the stage is not trained there, or by a version with other formulations.
    """
    folder = pathlib.Path(workdir) / stage
    config = run_folder.read_config(folder)
    run_folder.require_same_choices(folder, config)
    with precision.policy(config.runtime.precision):
        run = Run(stage, config, folder, tf.distribute.get_strategy())
        step, steps = run.checkpoints.restore(), run.settings.steps
        if not step:
            raise WorkDirError(f"{folder} holds no checkpoint; run train.py --stage={stage} --workdir={workdir} first.")
        if step < steps:
            _LOG.warning("%s is not trained to the end: step %d of %d.", folder, step, steps)
        run.average.install()
    return run.model, config
