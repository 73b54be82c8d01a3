"""Trains a stage: strategy, optimizers, checkpoints, moving average, logs."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf
from absl import logging

from mmsynth_tf import callbacks, commands, compat, configs, constants, input_pipeline, prepared, previews, records
from mmsynth_tf.modality_gan import ModalityGAN
from mmsynth_tf.segmenter import Segmenter
from mmsynth_tf.stage import StageModel
from mmsynth_tf.structure_gan import StructureGAN

CONFIG_FILE = "config.json"


class WorkDirError(commands.UserError):
    """A work directory does not hold what is needed, or holds something else."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between stages: how to build the model, its batches and its optimizers."""

    build: Callable[[configs.Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[configs.Config], object]  # The stage's own part of the configuration.


STAGES: Mapping[str, Stage] = {
    constants.STRUCTURE: Stage(
        build=lambda c: StructureGAN(c.data.image_size, c.structure),
        batches=input_pipeline.structure_batches,
        settings=lambda c: c.structure,
    ),
    constants.SEGMENTATION: Stage(
        build=lambda c: Segmenter(c.data, c.segmentation),
        batches=input_pipeline.segmentation_batches,
        settings=lambda c: c.segmentation,
    ),
    constants.SYNTHESIS: Stage(
        build=lambda c: ModalityGAN(c.data, c.structure_map, c.synthesis),
        batches=input_pipeline.synthesis_batches,
        settings=lambda c: c.synthesis,
    ),
}


def strategy() -> tf.distribute.Strategy:
    """A MirroredStrategy over the visible GPUs, or else the logical CPUs; one is fine."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def optimizers(stage: str, config: configs.Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    """One Adam for each group of the stage's model."""
    settings = STAGES[stage].settings(config)
    rate = settings.learning_rate
    if stage == constants.SEGMENTATION:
        if settings.cosine_decay:
            rate = tf.keras.optimizers.schedules.CosineDecay(rate, settings.steps)
        rates = {"lesion": rate}
    else:
        rates = {"generator": rate, "discriminator": settings.discriminator_learning_rate}
        if stage == constants.SYNTHESIS:
            rates["lesion"] = settings.lesion_learning_rate
    return {group: _adam(rate, settings.beta_1, config) for group, rate in rates.items()}


def _adam(rate, beta_1: float, config: configs.Config) -> tf.keras.optimizers.Optimizer:
    adam = tf.keras.optimizers.Adam(rate, beta_1=beta_1)
    return compat.LossScaleOptimizer(adam) if config.runtime.precision == "mixed_float16" else adam


def train(stage: str, config: configs.Config, data: prepared.PreparedData, workdir: str | pathlib.Path) -> None:
    """Trains a stage, from its newest checkpoint if there is one.

    Leaves in ``<workdir>/<stage>``: config.json, checkpoints/, losses.csv, tensorboard/, previews/.

    Args:
      stage: one of `constants.STAGES`.
      config: settings; its data settings are replaced by those of `data`.
      data: training slices come from its train split.
      workdir: parent of the stage's folder.

    Raises:
      WorkDirError: the folder holds a run with other settings.
    """
    config = dataclasses.replace(config, data=data.config)
    folder = pathlib.Path(workdir) / stage
    _claim(folder, config)
    settings = STAGES[stage].settings(config)
    with precision(config.runtime.precision):
        run = Run(stage, config, folder, strategy())
        start = run.restore()
        if start >= settings.steps:
            logging.info("%s: all %d steps are done.", stage, settings.steps)
            return
        logging.info("%s: training from step %d to %d.", stage, start, settings.steps)
        run.fit(input_pipeline.SliceSource(data.slices("train"), config.data.num_modalities, config.runtime.cache))


class Run:
    """A stage's model with its optimizers, moving average and checkpoints."""

    def __init__(self, stage: str, config: configs.Config, folder: pathlib.Path, distribution: tf.distribute.Strategy):
        self.stage, self.config, self.folder = stage, config, folder
        self.settings = STAGES[stage].settings(config)
        self.distribution = distribution
        tf.keras.utils.set_random_seed(config.runtime.seed)
        with distribution.scope():
            self.model = STAGES[stage].build(config)
            self.model.compile(optimizers(stage, config), jit_compile=config.runtime.jit_compile)
            self.average = WeightAverage(self.model, config.runtime.ema_decay)
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.checkpoint = tf.train.Checkpoint(
            step=self.step,
            average=self.average.shadows,
            optimizers=dict(self.model.optimizers),
            networks=_networks(self.model),
        )
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, str(folder / "checkpoints"), max_to_keep=config.runtime.keep_checkpoints
        )

    def restore(self) -> int:
        """Restores the newest checkpoint, if any; returns the step it was saved at."""
        if self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_existing_objects_matched()
        return int(self.step.numpy())

    def fit(self, slices: input_pipeline.SliceSource) -> None:
        """Trains from the restored step to the last one, saving at every `steps_per_checkpoint`."""
        start, interval = int(self.step.numpy()), self.settings.steps_per_checkpoint
        make_batches = STAGES[self.stage].batches
        # The same inputs in every preview, also after a restart.
        fixed_batch = next(iter(make_batches(slices, self.config)))
        journal = callbacks.Journal(
            self.folder,
            start=start,
            steps=self.settings.steps,
            interval=interval,
            slices_per_step=self.settings.batch_size * self.config.data.num_modalities,
            draw=lambda: self._draw(fixed_batch),
            save=self.save,
        )
        self.model.fit(
            make_batches(slices, self.config, start),
            initial_epoch=start // interval,
            epochs=-(-self.settings.steps // interval),
            steps_per_epoch=interval,
            verbose=0,
            callbacks=[callbacks.MovingAverage(self.average.update, start), journal],
        )

    def _draw(self, batch) -> bytes:
        with self.average.applied():
            return previews.preview(self.model, self.config, batch)

    def save(self, step: int) -> None:
        self.step.assign(step)
        self.manager.save(checkpoint_number=step)


class WeightAverage:
    """Exponential moving average of the weights of a model's networks."""

    def __init__(self, model: StageModel, decay: float):
        self.decay = decay
        self._variables = [v for network in _networks(model).values() for v in network.trainable_variables]
        self.shadows = [tf.Variable(tf.convert_to_tensor(v), trainable=False) for v in self._variables] if decay else []
        self._update = tf.function(self._move)

    def update(self, step: int) -> None:
        """Moves the average towards the weights; the first steps weigh more, so that it forgets the start."""
        if self.decay:
            self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model's weights are the average."""
        trained = [tf.convert_to_tensor(v) for v in self._variables]
        self._assign(self.shadows)
        yield
        self._assign(trained)

    def install(self) -> None:
        """Makes the average the model's weights, for good."""
        self._assign(self.shadows)

    def _move(self, decay: tf.Tensor) -> None:
        for shadow, variable in zip(self.shadows, self._variables, strict=True):
            value = tf.convert_to_tensor(variable)
            shadow.assign(value + decay * (shadow - value))

    def _assign(self, values) -> None:
        if self.decay:
            for variable, value in zip(self._variables, values, strict=True):
                variable.assign(value)


def load(stage: str, workdir: str | pathlib.Path) -> tuple[StageModel, configs.Config]:
    """Loads a trained stage with its averaged weights.

    Raises:
      WorkDirError: the stage is not trained there.
    """
    folder = pathlib.Path(workdir) / stage
    config = read_config(folder)
    with precision(config.runtime.precision):
        run = Run(stage, config, folder, tf.distribute.get_strategy())
        if not run.restore():
            raise WorkDirError(f"{folder} holds no checkpoint; run train.py --stage={stage} --workdir={workdir} first.")
        run.average.install()
    return run.model, config


def read_config(folder: pathlib.Path) -> configs.Config:
    """The configuration of the run in a stage's folder.

    Raises:
      WorkDirError: there is none, or one of another version.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise WorkDirError(f"{folder} holds no trained stage ({CONFIG_FILE} is missing); run train.py for it first.")
    try:
        return configs.from_json(configs.Config, path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkDirError(f"{path} is not a configuration of this version: {error}") from error


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Within it Keras layers are built with the given policy: float32, mixed_bfloat16 or mixed_float16."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _networks(model: StageModel) -> dict[str, tf.keras.Model]:
    """Networks of all groups, under names that do not change between runs."""
    return {f"{name}_{i}": net for name, group in model.groups.items() for i, net in enumerate(group.networks)}


def _claim(folder: pathlib.Path, config: configs.Config) -> None:
    """Writes the configuration to a new folder, or checks that the folder's is the same."""
    path = folder / CONFIG_FILE
    if path.exists():
        there, here = configs.fields(read_config(folder)), configs.fields(config)
        differing = [f"{name} is {there[name][0]} there, {here[name][0]} now" for name in here if there[name][0] != here[name][0]]
        if differing:
            raise WorkDirError(
                f"{folder} holds a run with other settings ({'; '.join(differing)}). "
                "Use the same settings to continue it, or another --workdir."
            )
        return
    records.write_text(path, configs.to_json(config))
