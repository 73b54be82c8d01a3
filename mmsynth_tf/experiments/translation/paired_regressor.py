"""The reference for translation: U-Nets that learn only to translate, from registered pairs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, input_pipeline, prepared
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.best_weights import BestWeights
from mmsynth_tf.models import networks
from mmsynth_tf.models.adam import Adam
from mmsynth_tf.models.stage import Batch, Group, StageModel
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import figures
from mmsynth_tf.training import checkpoints, loop

# Number of validation slices. They are ordered by a hash of their names, so the first ones are a random sample.
_VALIDATION_SLICES = 256
_BATCH = 32


class PairedRegressor(StageModel):
    """One U-Net for each target modality; it maps a slice of any other modality to the registered target slice.

    The source modality is not an input, because normalisation would erase a condition that is equal at all pixels.

    Batches hold `image` float32 [B, n, H, W, 1], registered, and `source` int32 [B, n]: the source modality of each
    target.
    """

    def __init__(self, image_size: tuple[int, int], num_modalities: int, *, base_filters: int, levels: int):
        super().__init__(name="paired_regressor")
        shape = {"base_filters": base_filters, "levels": levels}
        targets = range(num_modalities)
        self.encoders = [networks.unet_encoder(image_size, 1, **shape) for _ in targets]
        self.decoders = [networks.unet_decoder(image_size, 1, activation="sigmoid", **shape) for _ in targets]
        # The sum over targets of the mean |x_j - U_j(x_i)| inside the head.
        self.groups = {"regressor": Group((*self.encoders, *self.decoders), {"absolute_error": 1.0})}

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        sources = tf.gather(batch["image"], batch["source"], batch_dims=1)
        made = [self._regress(sources[:, target], target, training) for target in range(len(self.encoders))]
        return {"translated": tf.stack(made, axis=1)}

    def formulas(self, batch, tensors):
        return {"absolute_error": lambda: self._absolute_error(batch, tensors)}

    def _absolute_error(self, batch: Batch, tensors: Mapping[str, tf.Tensor]) -> tf.Tensor:
        # Only inside the head, where translations are scored.
        head = tf.cast(tf.reduce_any(batch["image"] > 0.0, axis=1, keepdims=True), tf.float32)
        errors = head * tf.abs(batch["image"] - tensors["translated"])
        return tf.math.divide_no_nan(tf.reduce_sum(errors), tf.reduce_sum(head))

    def translate(self, images: tf.Tensor, target: int) -> tf.Tensor:
        """Translates slices float32 [B, H, W, 1] of any modality: float32 [B, H, W, 1], 0 outside their head."""
        return self._regress(images, target, training=False) * (1.0 - structure_maps.background_mask(images))

    @tf.function(autograph=False, reduce_retracing=True)
    def pair_errors(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums over all ordered pairs of modalities: |x_j - U_j(x_i)| inside the head, and the head's pixel count.

        Args:
          images: float32 [B, n, H, W, 1], registered.
        """
        count = images.shape[1]
        head = tf.cast(tf.reduce_any(images > 0.0, axis=1), tf.float32)
        total = 0.0
        for target in range(count):
            sources = [images[:, source] for source in range(count) if source != target]
            translated = self._regress(tf.concat(sources, axis=0), target, training=False)
            errors = tf.abs(tf.tile(images[:, target], [count - 1, 1, 1, 1]) - translated)
            total += tf.reduce_sum(errors * tf.tile(head, [count - 1, 1, 1, 1]))
        return total, tf.reduce_sum(head) * float(count * (count - 1))

    def _regress(self, images: tf.Tensor, target: int, training: bool) -> tf.Tensor:
        return self.decoders[target](self.encoders[target](images, training=training), training=training)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained regressor.

    Attributes:
      regressor: the model with the selected weights.
      kept_step: number of training steps of the selected weights.
      validation_slices: number of slices used for the selection; 0 if there are none, and the last weights are kept.
    """

    regressor: PairedRegressor
    kept_step: int
    validation_slices: int


def train(
    data: prepared.PreparedData, config: configs.Config, steps: int, folder: Path, validate: bool = True
) -> Trained:
    """Trains on the registered slices of a train split, from the newest checkpoint in `folder` if there is one.

    Size, batch and learning rate are those of the segmenters, augmentation is that of the synthesis stage; the rate
    decays by half a cosine. Training uses one device.

    Args:
      data: slices with all modalities are used: those of the train split for training, those of the validation split
        to select weights.
      config: settings; `runtime.seed` seeds weights and batches.
      steps: training steps.
      folder: receives losses.csv, tensorboard/, previews/ and checkpoints/.
      validate: whether to select the weights on the validation split.

    Raises:
      UserError: no slice has all modalities.
      WorkDirError: the checkpoints in `folder` are damaged.
    """
    tf.keras.utils.set_random_seed(config.runtime.seed)
    settings = config.segmentation
    model = PairedRegressor(
        config.data.image_size, config.data.num_modalities, base_filters=settings.base_filters, levels=settings.levels
    )
    rate = tf.keras.optimizers.schedules.CosineDecay(settings.choices.learning_rate, steps)
    model.compile({"regressor": Adam(rate)})
    # The interval divides `steps`, so that the last weights are validated as well.
    interval = max(n for n in range(1, config.runtime.steps_per_checkpoint + 1) if steps % n == 0)
    images = _validation_images(data) if validate else []
    weights = [variable for network in model.networks.values() for variable in network.weights]
    best = BestWeights(weights, lambda: validation_error(model, images), interval)
    state = {"networks": model.networks, "optimizers": dict(model.optimizers), "best": best.state}
    saved = checkpoints.Checkpoints(folder, 1, state, len(model.terms))
    if saved.restore() < steps:
        source = RegisteredSlices(data, config)
        fixed_batch = next(iter(source.batches(0)))
        loop.fit(
            model,
            source.batches,
            saved,
            folder,
            steps=steps,
            interval=interval,
            slices_per_step=settings.batch_size * config.data.num_modalities,
            draw=lambda: _preview(model, fixed_batch, config.data.modalities),
            after_step=best.update if len(images) else lambda step: None,
        )
    if not len(images):
        return Trained(model, steps, 0)
    best.install()
    return Trained(model, best.step, len(images))


def validation_error(model: PairedRegressor, images: np.ndarray) -> float:
    """Mean |x_j - U_j(x_i)| inside the head over all pairs of modalities of registered slices [N, n, H, W, 1]."""
    parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    found = [model.pair_errors(tf.constant(part, tf.float32)) for part in parts]
    error, pixels = (float(sum(column)) for column in zip(*found, strict=True))
    return error / max(pixels, 1.0)


def _validation_images(data: prepared.PreparedData) -> np.ndarray:
    """Validation slices, float16 [N, n, H, W, 1]; empty if the data set has no validation patients."""
    if not data.cases.get(splits.VALIDATION):
        return np.empty(0)
    whole = data.slices(splits.VALIDATION).filter(lambda x: tf.reduce_all(x["available"]))
    images = [image for image in whole.map(lambda x: x["image"]).take(_VALIDATION_SLICES).as_numpy_iterator()]
    return np.stack(images) if images else np.empty(0)


class RegisteredSlices:
    """Batches for `PairedRegressor`, drawn from (seed, step) as in the stages.

    Args:
      data: the slices of its train split that have all modalities are used.
      config: settings.

    Raises:
      UserError: no slice has all modalities.
    """

    def __init__(self, data: prepared.PreparedData, config: configs.Config):
        self.config = config
        try:
            self._slices = input_pipeline.registered_source([data.slices("train")], config.runtime.cache, whole=True)
        except UserError as error:
            raise UserError(
                f"No training slice of {data.path} has all modalities, but the reference of this experiment learns "
                "from registered slices. Give it cases with all modalities."
            ) from error

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Batches from step `start_step` on."""
        size, augmentation = self.config.segmentation.batch_size, self.config.synthesis.choices.augmentation
        return input_pipeline.batches(self._slices, self.config, size, start_step, self._with_sources, augmentation)

    def _with_sources(self, batch: Batch, step: tf.Tensor) -> Batch:
        n, seed = self.config.data.num_modalities, tf.constant(self.config.runtime.seed, tf.int64)
        images = tf.transpose(batch["image"][:, 0], [0, 3, 1, 2])[..., None]
        others = tf.random.stateless_uniform([images.shape[0], n], tf.stack([seed, step]), 1, n, tf.int32)
        return {"image": images, "source": (tf.range(n) + others) % n}


def _preview(model: PairedRegressor, batch: Batch, modalities: tuple[str, ...]) -> bytes:
    """Translations of the batch's first slice to every modality, from the drawn source."""
    made = model.forward(batch, training=False)["translated"]
    images, sources = np.asarray(batch["image"])[0, ..., 0], np.asarray(batch["source"])[0]
    columns = {"source": images[sources], "translated": np.asarray(made)[0, ..., 0], "registered slice": images}
    names = [f"{modalities[i]} → {target}" for i, target in zip(sources, modalities, strict=True)]
    return figures.slice_grid(columns, names)
