"""Trains a stage: strategy, optimizers, checkpoints, moving average, logs."""

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from mmsynth_tf import (
    checkpoints,
    commands,
    compat,
    configs,
    constants,
    fitting,
    input_pipeline,
    prepared,
    previews,
    records,
    workers,
)
from mmsynth_tf.checkpoints import WorkDirError
from mmsynth_tf.fitting import Batches
from mmsynth_tf.models import networks
from mmsynth_tf.models.lesion_processor import LesionProcessor
from mmsynth_tf.models.modality_gan import ModalityGAN
from mmsynth_tf.models.segmenter import Segmenter
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.models.structure_gan import StructureGAN

CONFIG_FILE = "config.json"
_TRAINED_ON_FILE = "trained_on.json"

_LOG = logging.getLogger(__name__)


_LEARNING = ("augmentation.", "runtime.seed", "runtime.precision", "runtime.ema_decay", "runtime.augment")
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between stages: how to build the model, its batches and its optimizers."""

    build: Callable[[configs.Config], StageModel]
    batches: Callable[..., tf.data.Dataset]
    settings: Callable[[configs.Config], configs.StageConfig]  # The stage's own part of the configuration.
    depends_on: tuple[str, ...]  # Settings, by the start of their path, that change what is learned.


def lesion_processor(config: configs.Config, design: str) -> LesionProcessor:
    """Untrained lesion processors of the segmenters' size."""
    return LesionProcessor(
        config.data.image_size,
        config.data.num_modalities,
        config.data.num_classes,
        design=design,
        base_filters=config.segmentation.base_filters,
        levels=config.segmentation.levels,
        dropout=config.segmentation.dropout,
        initializer=networks.generator_initializer(config.segmentation.mean_filter_init),
    )


STAGES: Mapping[str, Stage] = {
    constants.STRUCTURE: Stage(
        build=lambda c: StructureGAN(c.data.image_size, c.structure),
        batches=input_pipeline.structure_batches,
        settings=lambda c: c.structure,
        depends_on=("data.", "structure_map.", "structure.", *_LEARNING),
    ),
    constants.SEGMENTATION: Stage(
        build=lambda c: Segmenter(c.segmentation, lesion_processor(c, c.segmentation.design)),
        batches=input_pipeline.segmentation_batches,
        settings=lambda c: c.segmentation,
        depends_on=("data.", "segmentation.", *_LEARNING),
    ),
    constants.SYNTHESIS: Stage(
        build=lambda c: ModalityGAN(
            c.data, c.structure_map, c.synthesis, lesion_processor(c, c.synthesis.lesion_design)
        ),
        batches=input_pipeline.synthesis_batches,
        settings=lambda c: c.synthesis,
        depends_on=("data.", "structure_map.", "segmentation.", "synthesis.", *_LEARNING),
    ),
}


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """Over the machines of TF_CONFIG; without it over the visible GPUs, or else the logical CPUs; one is fine.

    A second one over the same devices would count its collective operations from the start again, and
    TensorFlow 2.15 would take them for those of the first.
    """
    several_machines = workers.strategy()
    if several_machines:
        return several_machines
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def optimizers(stage: str, config: configs.Config) -> dict[str, tf.keras.optimizers.Optimizer]:
    """One Adam for each group of the stage's model."""
    settings = STAGES[stage].settings(config)
    if stage == constants.SEGMENTATION:
        rates = {"lesion": settings.learning_rate}
    else:
        rates = {"generator": settings.learning_rate, "discriminator": settings.discriminator_learning_rate}
        if stage == constants.SYNTHESIS and not settings.pretrained_lesion:
            rates["lesion"] = settings.lesion_learning_rate
        if stage == constants.STRUCTURE and settings.has_flow:
            rates["flow"] = settings.flow_learning_rate
    if settings.cosine_decay:
        rates = {
            group: tf.keras.optimizers.schedules.CosineDecay(rate, settings.steps) for group, rate in rates.items()
        }
    return {group: _adam(rate, settings.beta_1, config) for group, rate in rates.items()}


def _adam(rate, beta_1: float, config: configs.Config) -> tf.keras.optimizers.Optimizer:
    adam = tf.keras.optimizers.Adam(rate, beta_1=beta_1)
    return compat.LossScaleOptimizer(adam) if config.runtime.precision == "mixed_float16" else adam


def train(
    stage: str,
    config: configs.Config,
    data: Sequence[prepared.PreparedData],
    workdir: str | pathlib.Path,
    batches: Batches | None = None,
) -> None:
    """Trains a stage, from its newest checkpoint if there is one.

    Leaves in ``<workdir>/<stage>``: config.json, trained_on.json, checkpoints/, losses.csv, tensorboard/, previews/.

    Args:
      stage: one of `constants.STAGES`.
      config: settings; its data settings are replaced by those of `data`.
      data: training slices come from the train splits of all of these.
      workdir: parent of the stage's folder.
      batches: what to train on instead of all slices of `data`, some or all of which it must be made of.

    Raises:
      WorkDirError: the folder holds a run with other settings.
      LockedError: another process trains there.
    """
    first, *others = data
    config = dataclasses.replace(config, data=first.config)
    for other in others:
        prepared.require_same_geometry(other, config.data, str(first.path))
    folder = pathlib.Path(workdir) / stage
    settings = STAGES[stage].settings(config)
    require_whole(settings, strategy().num_replicas_in_sync)
    folder.mkdir(parents=True, exist_ok=True)
    with workers.output_folder(folder, strategy()) as output, precision(config.runtime.precision):
        _require_same_run(folder, stage, config, [d.record for d in data])
        if not checkpoints.paths(folder):  # Until there is one there is nothing to protect.
            _describe_run(output, config, [d.record for d in data])
        run = Run(stage, config, folder, strategy(), output)
        start = run.checkpoints.restore()
        if stage == constants.SYNTHESIS and config.synthesis.pretrained_lesion and not start:
            _install_segmenters(run.model, config, workdir)
        if start >= settings.steps:
            _LOG.info("%s: all %d steps are done.", stage, settings.steps)
            return
        _LOG.info("%s: training from step %d to %d.", stage, start, settings.steps)
        run.fit(batches or _batches_of_all(stage, config, data))


def _batches_of_all(stage: str, config: configs.Config, data: Sequence[prepared.PreparedData]) -> Batches:
    """The stage's batches, drawn from all training slices of all data sets."""
    parts = [input_pipeline.training_features(d.slices("train")) for d in data]
    slices = functools.reduce(lambda a, b: a.concatenate(b), parts)
    source = input_pipeline.SliceSource(slices, config.data.num_modalities, config.runtime.cache)
    return functools.partial(STAGES[stage].batches, source, config)


def require_whole(settings: configs.StageConfig, replicas: int) -> None:
    """Refuses numbers that do not divide.

    Args:
      settings: of the stage.
      replicas: devices that share a batch.

    Raises:
      UserError: a run would not end at a checkpoint, or never leave pretraining, or a replica would get no or fewer
        slices.
    """
    if settings.steps % settings.steps_per_checkpoint:
        raise commands.UserError(
            f"steps ({settings.steps}) must be a multiple of steps_per_checkpoint ({settings.steps_per_checkpoint})."
        )
    if settings.batch_size % replicas:
        raise commands.UserError(
            f"batch_size ({settings.batch_size}) must be a multiple of the number of devices ({replicas}); "
            "change it, or hide devices with CUDA_VISIBLE_DEVICES."
        )
    pretraining_steps = getattr(settings, "pretraining_steps", 0)
    if pretraining_steps and pretraining_steps >= settings.steps:
        raise commands.UserError(
            f"pretraining_steps ({pretraining_steps}) are a part of steps ({settings.steps}) and must be fewer."
        )
    full_every = getattr(settings, "full_every", 1)
    if settings.batch_size // replicas % full_every:
        raise commands.UserError(
            f"full_every is {full_every}; a device's share of the batch ({settings.batch_size // replicas} rows) must "
            "be a multiple of it."
        )


def _install_segmenters(model: ModalityGAN, config: configs.Config, workdir: str | pathlib.Path) -> None:
    """Gives the modality GAN the trained segmenters of the same work directory as lesion processors.

    Raises:
      WorkDirError: they are not there, or have another shape.
    """
    segmenter, trained = load(constants.SEGMENTATION, workdir)
    same_design = trained.segmentation.design == config.synthesis.lesion_design
    source, target = segmenter.lesion_processor.weights, model.lesion_processor.weights
    if not same_design or [v.shape for v in source] != [v.shape for v in target]:
        raise WorkDirError(
            f"The segmenters in {workdir} have another design or size than the lesion processors of the synthesis "
            "stage. Use the same settings for both, or train them alongside: --noconfig.synthesis.pretrained_lesion."
        )
    for a, b in zip(source, target, strict=True):
        b.assign(a)


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
        self.stage, self.config, self.output = stage, config, output or folder
        self.settings = STAGES[stage].settings(config)
        self.distribution = distribution
        tf.keras.utils.set_random_seed(config.runtime.seed)
        with distribution.scope():
            self.model = STAGES[stage].build(config)
            self.model.compile(optimizers(stage, config), jit_compile=config.runtime.jit_compile)
            self.average = WeightAverage(self.model, config.runtime.ema_decay)
        state = {
            "average": self.average.shadows,
            "optimizers": dict(self.model.optimizers),
            "networks": self.model.networks,
            "statistics": list(self.model.statistics),
        }
        keep, num_terms = config.runtime.keep_checkpoints, len(self.model.terms)
        self.checkpoints = checkpoints.Checkpoints(folder, keep, state, num_terms, self.output)

    def fit(self, batches: Batches) -> None:
        """Trains from the restored step to the last one, saving at every `steps_per_checkpoint`."""
        # The same inputs in every preview, also after a restart.
        fixed_batch = next(iter(batches(0)))
        fitting.fit(
            self.model,
            batches,
            self.checkpoints,
            self.output,
            steps=self.settings.steps,
            interval=self.settings.steps_per_checkpoint,
            slices_per_step=self.settings.batch_size
            * (1 if self.stage == constants.STRUCTURE else self.config.data.num_modalities),
            draw=lambda: self._draw(fixed_batch),
            update_average=self.average.update,
        )

    def _draw(self, batch) -> bytes:
        with self.average.applied():
            return previews.preview(self.model, self.config, batch)


class WeightAverage:
    """Exponential moving average of the weights of a model's networks, but for discriminators."""

    def __init__(self, model: StageModel, decay: float):
        self.decay = decay
        sampled = [group for name, group in model.groups.items() if name != "discriminator"]
        self._variables = [variable for group in sampled for variable in group.variables]
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
        step, steps = run.checkpoints.restore(), run.settings.steps
        if not step:
            raise WorkDirError(f"{folder} holds no checkpoint; run train.py --stage={stage} --workdir={workdir} first.")
        if step < steps:
            _LOG.warning("%s is not trained to the end: step %d of %d.", folder, step, steps)
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
    except (ValueError, TypeError, AttributeError) as error:
        raise WorkDirError(f"{path} is not a configuration of this version: {error}") from error


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Within it Keras layers are built with the given policy: float32, mixed_bfloat16 or mixed_float16."""
    if policy not in _PRECISIONS:
        raise commands.UserError(f"runtime.precision is {policy!r}; choose one of {', '.join(_PRECISIONS)}.")
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def trained_on(stage: str, workdir: str | pathlib.Path) -> list[dict]:
    """The records (data_set.json) of the data sets that a stage was trained on."""
    return _read_trained_on(pathlib.Path(workdir) / stage)


def _read_trained_on(folder: pathlib.Path) -> list[dict]:
    path = folder / _TRAINED_ON_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise WorkDirError(
            f"{path} cannot be read ({error}), so nobody knows which patients were trained on. Train in another "
            "--workdir."
        ) from error


def _require_same_run(folder: pathlib.Path, stage: str, config: configs.Config, data_records: list[dict]) -> None:
    """Refuses a folder that holds a run with other settings or on other data.

    Raises:
      WorkDirError: as said.
    """
    if not checkpoints.paths(folder):
        return
    if _read_trained_on(folder) != data_records:
        raise WorkDirError(f"{folder} holds a run on other data. Give it the same --data_dir, or another --workdir.")
    there, here = configs.fields(read_config(folder)), configs.fields(config)
    differing = [
        f"{name} is {there[name][0]} there, {value} now"
        for name, (value, _) in here.items()
        if name.startswith(STAGES[stage].depends_on) and there[name][0] != value
    ]
    if differing:
        raise WorkDirError(
            f"{folder} holds a run with other settings ({'; '.join(differing)}). "
            "Use the same settings to continue it, or another --workdir."
        )


def _describe_run(folder: pathlib.Path, config: configs.Config, data_records: list[dict]) -> None:
    records.write_text(folder / _TRAINED_ON_FILE, json.dumps(data_records, indent=1))
    records.write_text(folder / CONFIG_FILE, configs.to_json(config))
