"""Samples a second from an exported SavedModel, filters included, and from a build of a synthetic data set."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import build_rate, operations, stage_step, timing
from mmsynth_tf import constants
from mmsynth_tf.algorithms import contour_filter
from mmsynth_tf.configs import Config
from mmsynth_tf.export import saved_models, signatures
from mmsynth_tf.metrics import segmentation
from mmsynth_tf.parallel import map_in_order
from mmsynth_tf.storage.records import Record

Rows = dict[str, np.ndarray]

_BESIDE = "batches, filter beside the networks"
_ALONE, _CALLED = "one at a time", "one at a time, calls of the Keras models"


def run(config: Config, samples: int, rounds: int) -> Iterator[Record]:
    """Makes samples in batches, one at a time, and in batches whose maps are filtered after the networks.

    And one at a time by calls of the Keras models as they are: an eighth of them, for that takes long. And by
    `datasets/build.py`. The networks are untrained, and every sample goes the whole way, whatever the filters say.
    """
    size, few = config.generation.batch_size, -(-samples // 8)
    with tempfile.TemporaryDirectory() as folder:
        exported, uncompiled = makers(config, Path(folder) / "models")
        drawn = exported.draws(samples)
        rest = {name: values[:few] for name, values in drawn.items()}
        ways: dict[str, tuple[Callable[[], object], int, int]] = {  # What makes how many samples, how many together.
            _BESIDE: (functools.partial(exported.make, drawn, size, True), samples, size),
            "batches, filter after the networks": (functools.partial(exported.make, drawn, size, False), samples, size),
            _ALONE: (functools.partial(exported.make, drawn, 1, False), samples, 1),
            _CALLED: (functools.partial(uncompiled.make, rest, 1, False), few, 1),
            "datasets/build.py": (build_rate.Build(config, Path(folder), samples).make, samples, size),
        }
        seconds = timing.interleaved({way: make for way, (make, _, _) in ways.items()}, rounds)
    of_a_sample = {way: seconds[way] / count for way, (_, count, _) in ways.items()}
    for way, value in of_a_sample.items():
        yield {
            "way": way,
            "batch_size": ways[way][2],
            "slices_per_second": config.data.num_modalities / value,
            "gflop_per_second": 1e-9 * exported.flops / value,
            "times_faster_than_one_at_a_time": of_a_sample[_ALONE] / value,
            "times_faster_than_calls_of_keras_models": of_a_sample[_CALLED] / value,
            "times_longer_than_beside": value / of_a_sample[_BESIDE],
        }


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes samples with functions such as the signatures of a SavedModel, each with the inputs named.

    One sample takes `flops` operations.
    """

    functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    inputs: Mapping[str, Mapping[str, tf.TensorSpec]]
    config: Config
    flops: int

    def make(self, draws: Rows, size: int, beside: bool) -> np.ndarray:
        """Samples of all draws.

        Args:
          draws: `label` uint8 [N, H, W, 1] and what else the signatures take; N a multiple of `size`.
          size: samples that go through the networks together.
          beside: filter the maps of a batch in a thread while the networks make the batch before.

        Returns:
          Mask error and Dice of each: float64 [N, 2].
        """
        maps = (self._maps(batch) for batch in _split(draws, size))
        filtered = map_in_order(self._filter, maps, workers=1) if beside else map(self._filter, maps)
        return np.concatenate([self._complete(batch) for batch in filtered])

    def draws(self, samples: int) -> Rows:
        """Random labels, and standard normal values for all other inputs of the signatures."""
        rng, data = np.random.default_rng(0), self.config.data
        drawn = {"label": rng.integers(0, data.num_classes, (samples, *data.image_size, 1)).astype(np.uint8)}
        for name, spec in {**self.inputs["sample_structure"], **self.inputs["synthesize"]}.items():
            if name not in ("structure", "background", "label"):
                drawn[name] = rng.standard_normal((samples, *spec.shape[1:])).astype(np.float32)
        return drawn

    def _maps(self, drawn: Rows) -> Rows:
        given = {name: tf.constant(drawn[name]) for name in self.inputs["sample_structure"]}
        found = self.functions["sample_structure"](**given)
        return {**drawn, **{name: (value.numpy() >= 0.5).astype(np.uint8) for name, value in found.items()}}

    def _filter(self, maps: Rows) -> Rows:
        errors = contour_filter.mask_errors(maps["structure"][..., 0], maps["background"][..., 0])
        return {**maps, "mask_error": errors}

    def _complete(self, maps: Rows) -> np.ndarray:
        inputs = {name: tf.constant(maps[name]) for name in self.inputs["synthesize"]}
        maps_as_floats = {name: tf.cast(inputs[name], tf.float32) for name in ("structure", "background")}
        images = self.functions["synthesize"](**{**inputs, **maps_as_floats})
        dice = [self._dice(images[name], name, maps["label"]) for name in self.config.data.modalities]
        return np.stack([maps["mask_error"], np.mean(dice, axis=0)], axis=1)

    def _dice(self, images: tf.Tensor, modality: str, label: np.ndarray) -> list[float]:
        probabilities = self.functions[f"segment_{modality}"](image=images)["probabilities"]
        # Where the networks are: a number a class and pixel takes longer to copy, and NumPy longer to compare.
        found = tf.argmax(probabilities, axis=-1).numpy()
        return [segmentation.dice(own[..., 0] > 0, other > 0) for own, other in zip(label, found, strict=True)]


def makers(config: Config, folder: Path) -> tuple[Maker, Maker]:
    """Exports untrained networks and loads them again; and the same networks as they are."""
    models = {stage: stage_step.model(stage, config) for stage in constants.PAPER_STAGES}
    offered = signatures.Signatures(models, config.data, config.translation)
    traced = offered.trace()
    saved_models.save(traced, folder)
    segment = {
        f"segment_{name}": functools.partial(offered.segment_one, modality=index)
        for index, name in enumerate(config.data.modalities)
    }
    inputs = {name: signatures.inputs(function) for name, function in traced.items()}
    flops = sum(
        operations.flops(function, **_one_of_each(inputs[name]))
        for name, function in {"generate": offered.generate, **segment}.items()
    )
    exported = Maker(tf.saved_model.load(str(folder)).signatures, inputs, config, flops)
    as_they_are = {"sample_structure": offered.sample_structure, "synthesize": offered.synthesize, **segment}
    return exported, dataclasses.replace(exported, functions=as_they_are)


def _one_of_each(inputs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.TensorSpec]:
    """A signature's inputs for a single sample."""
    return {name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name) for name, spec in inputs.items()}


def _split(draws: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(draws["label"]), size):
        yield {name: values[start : start + size] for name, values in draws.items()}
