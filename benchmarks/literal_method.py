"""The method's losses written out literally: one modality after the other, pair by pair, triple by triple.

Slow and plain on purpose. It calls a model's networks one image set at a time,
never its `forward` or `loss_terms`, and follows the tables of method §3, §6 and
§8. The tests compare values with it; the benchmarks train with it, with layers
as their formulas read (`plain_layers`).
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.configs.structure import STRUCTURE_FORMULATIONS
from mmsynth_tf.configs.synthesis import NO_REGISTERED_TERMS, SYNTHESIS_FORMULATIONS, FurtherLossWeights
from mmsynth_tf.models import layers
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.stages.structure.gan import StructureGAN
from mmsynth_tf.stages.synthesis.gan import ModalityGAN

# The formulas are the method's own: without what the stages can do beyond it. Choices of two stages, and settings.
STRUCTURE_CHOICES = {
    "match_codes": False,
    "match_edges": False,
    "position": False,
    "edges_of_picture": False,
    "detail": False,
    "reconstruction_blur": 0.0,
}
SYNTHESIS_CHOICES = {
    "contrast_condition": False,
    "skips": False,
    "translation_detached": False,
    "judged_intensity": 0.0,
    "registered": False,
    "weights": FurtherLossWeights(**NO_REGISTERED_TERMS, contrast=0.0),
}
SETTINGS = {"synthesis.full_every": 1, "synthesis.pretraining_steps": 0}

Pairs = list[tuple[int, int]]


def norm(a: tf.Tensor, b: tf.Tensor | float = 0.0) -> tf.Tensor:
    """‖a - b‖²: the mean over all elements of (a - b)²."""
    return tf.reduce_mean((a - b) ** 2)


@contextlib.contextmanager
def formulation(formulations: dict[str, Any], name: str, **changes: Any) -> Iterator[str]:
    """Within it a stage has one more formulation: the measured one, but for some choices.

    Args:
      formulations: the stage's.
      name: of the further one.
      **changes: choices that differ.

    Yields:
      The name.
    """
    if name in formulations:
        raise ValueError(f"There is a formulation {name!r} already.")
    formulations[name] = dataclasses.replace(formulations[constants.MEASURED], **changes)
    try:
        yield name
    finally:
        del formulations[name]


@contextlib.contextmanager
def literal(config: Config) -> Iterator[Config]:
    """Within it `config` with the method's own formulas, without what the stages can do beyond it, can be built."""
    with (
        formulation(STRUCTURE_FORMULATIONS, "literal", **STRUCTURE_CHOICES) as structure,
        formulation(SYNTHESIS_FORMULATIONS, "literal", **SYNTHESIS_CHOICES) as synthesis,
    ):
        formulations = {"structure.formulation": structure, "synthesis.formulation": synthesis}
        yield tree.override(config, {**SETTINGS, **formulations})


def plain_layers() -> AbstractContextManager:
    """A context in which layers follow their formulas literally, and TensorFlow derives their gradients."""
    return mock.patch.multiple(
        layers, _standardised=_standardised, _leaky_relu=_leaky_relu, _upsampled_conv=_upsampled_conv
    )


def _standardised(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, epsilon: float) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, (1, 2), keepdims=True)
    return scale * (x - mean) / tf.sqrt(variance + epsilon) + shift


def _leaky_relu(x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 0, x, 0.2 * x)


def _upsampled_conv(inputs: Sequence[tf.Tensor], kernel: tf.Tensor) -> tf.Tensor:
    height, width = (2 * min(x.shape[axis] for x in inputs) for axis in (1, 2))
    doubled = [tf.image.resize(x, [height, width], "nearest") if x.shape[1] < height else x for x in inputs]
    return tf.nn.conv2d(tf.concat(doubled, axis=-1), kernel, 1, "SAME")


class Discriminator:
    """A discriminator that trains at its first call alone: spectral normalisation rescales it once a step."""

    def __init__(self, network: tf.keras.Model, training: bool):
        self._network, self._training = network, training

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        training, self._training = self._training, False
        return self._network(x, training=training)


def structure_terms(model: StructureGAN, batch: Batch, training: bool = False) -> dict[str, tf.Tensor]:
    """Method §3 for a batch of `StructureGAN`."""
    f, m = batch["structure"], batch["background"]
    mean, log_var = model.encoder(f, training=training)
    z = mean + tf.exp(0.5 * log_var) * batch["noise"]
    z_g = batch["code"]
    f_r, f_g = (model.decoder([code], training=training) for code in (z, z_g))
    m_r, m_g = (model.mask_generator(x, training=training) for x in (f, f_g))
    d, fd = (Discriminator(net, training) for net in (model.map_discriminator, model.code_discriminator))
    return {
        "code_discriminator": norm(fd(z_g), 1) + norm(fd(z)),
        "map_discriminator": norm(d(f), 1) + norm(d(f_g)),
        "code_adversarial": norm(fd(z), 1),
        "map_adversarial": norm(d(f_g), 1),
        "moments": tf.reduce_mean(mean) ** 2 + (tf.reduce_mean(tf.exp(0.5 * log_var)) - 1) ** 2,
        "divergence": 0.5 * tf.reduce_mean(mean**2 + tf.exp(log_var) - 1 - log_var),
        "reconstruction": norm(f, f_r),
        "reconstruction_outside": norm(f_r * m),
        "mask": norm(m, m_r),
        "mask_structure": norm(f * m_r) + norm(f_r * m_r) + norm(f_g * m_g),
    }


def segmentation_terms(model: Segmenter, batch: Batch) -> dict[str, tf.Tensor]:
    """Method §8 for a batch of `Segmenter`."""
    terms = dict.fromkeys(("squared_error", "dice", "cross_entropy"), tf.constant(0.0))
    classes = model.num_classes
    for i in range(model.num_modalities):
        label, dice, present = batch["label"][:, i, ..., 0], 0.0, 0.0
        predicted = model.lesion_processor.segment(batch["image"][:, i], i)
        for c in range(classes):
            truth, p = tf.cast(label == c, tf.float32), predicted[..., c]
            terms["squared_error"] += (
                model.class_weights[min(c, len(model.class_weights) - 1)] * norm(truth, p) / classes
            )
            terms["cross_entropy"] -= tf.reduce_mean(truth * tf.math.log(p + 1e-7))
            if c:
                there = tf.cast(tf.reduce_any(label == c), tf.float32)
                overlap, areas = tf.reduce_sum(truth * p), tf.reduce_sum(truth) + tf.reduce_sum(p)
                dice, present = dice + there * 2 * overlap / areas, present + there
        terms["dice"] += 1 - dice / present
    return terms


class ModalityOracle:
    """Method §6 for a batch of `ModalityGAN`.

    Args:
      model: the networks.
      batch: its own pairs are ignored.
      pairs: pairs that estimate the sums, in runs of two of the same source; all pairs if not given.
      training: argument of all networks.
    """

    def __init__(self, model: ModalityGAN, batch: Batch, pairs: Pairs | None = None, training: bool = False):
        self._model, self._batch, self._training = model, batch, training
        self._n, self._classes = model.num_modalities, model.num_classes
        self._pairs = pairs or all_pairs(self._n)
        self._triples = _runs_of_two(pairs) if pairs else list(itertools.permutations(range(self._n), 3))
        self._f, self._m, self._l = batch["structure"], batch["background"], batch["fusion_label"]
        self._discriminator = Discriminator(model.discriminator, training)
        self._feature_discriminator = Discriminator(model.feature_discriminator, training)
        for joint in model.joint_discriminators:
            self._joint_discriminator = Discriminator(joint, training)
        self._x = [batch["image"][:, i] for i in range(self._n)]
        self._labels = [batch["label"][:, i] for i in range(self._n)]
        self._code = [self._encode(x) for x in self._x]
        self._code_g = self._fuse(self._f, self._m, self._l)
        self._x_g = [self._decode(self._code_g, i) for i in range(self._n)]
        self._code_of_x_g = [self._encode(x) for x in self._x_g]
        self._x_t = {(i, j): self._decode(self._code[i], j) for i, j in self._pairs}
        self._code_t = {(i, j): self._encode(self._x_t[i, j]) for i, j in self._pairs}
        self._x_cr = {(j, i): self._decode(self._code_t[i, j], i) for i, j in self._pairs}

    def terms(self) -> dict[str, tf.Tensor]:
        """Every term with a weight; sums over pairs and triples are scaled up to all pairs and all triples."""
        made = [(self._x_g[i], i) for i in range(self._n)] + self._rebuilt()
        formulas = {
            **self._formulas(),
            **self._formulas_of_made(made),
            **self._formulas_of_rebuilt(),
            **self._formulas_of_rows(),
        }
        return {name: formulas[name]() for name in self._model.terms}

    def rebuilt_terms(self) -> dict[str, tf.Tensor]:
        """Those of slices that are only made anew from their own maps and labels."""
        formulas = {**self._formulas_of_made(self._rebuilt()), **self._formulas_of_rebuilt()}
        formulas |= self._formulas_of_rows(rebuilt_alone=True)
        return {name: formula() for name, formula in formulas.items() if name in self._model.terms}

    def _formulas(self) -> dict[str, Callable[[], tf.Tensor]]:
        pairs, triples = self._pairs, self._triples
        count = self._n * (self._n - 1)
        pair_scale, triple_scale = count / len(pairs), count * (self._n - 2) / max(1, len(triples))

        def over_pairs(term: Callable[[int, int], tf.Tensor]) -> tf.Tensor:
            return pair_scale * sum(term(i, j) for i, j in pairs)

        x, x_g, x_t, x_cr, code_of_x_g = self._x, self._x_g, self._x_t, self._x_cr, self._code_of_x_g
        each, fd = range(self._n), self._feature_discriminator
        maps = [self._map(image, self._l) for image in x_g]
        return {
            "discriminator_translated": lambda: over_pairs(lambda i, j: norm(self._d(x_t[i, j]))),
            "discriminator_class_synthetic": lambda: sum(self._class(x_g[i], i) for i in each),
            "discriminator_class_translated": lambda: over_pairs(lambda i, j: self._class(x_t[i, j], j)),
            "code_discriminator": lambda: sum(norm(fd(self._code[i]), 1) for i in each) + norm(fd(self._code_g)),
            "translation_adversarial": lambda: over_pairs(lambda i, j: norm(self._d(x_t[i, j]), 1)),
            "translation_class": lambda: over_pairs(lambda i, j: self._class(x_t[i, j], j)),
            "reconstruction": lambda: sum(norm(x[i], self._decode(self._code[i], i)) for i in each),
            "paired_translation": lambda: over_pairs(lambda i, j: norm(_blurred(x[j]), _blurred(x_t[i, j]))),
            "cycle": lambda: over_pairs(lambda i, j: norm(x[i], x_cr[j, i])),
            "cycle_consistency": lambda: triple_scale * sum(norm(x_cr[j, i], x_cr[k, i]) for i, j, k in triples),
            "code_consistency": lambda: over_pairs(lambda i, j: norm(self._code[i], self._code_t[i, j])),
            "code_adversarial": lambda: norm(fd(self._code_g), 1) + sum(norm(fd(self._code[i])) for i in each),
            "structure": lambda: sum(self._structure(x_g[i]) for i in each),
            "structure_agreement": lambda: sum(norm(found, sum(maps) / self._n) for found in maps),
            "lesion": lambda: sum(self._lesion(self._l, x_g[i], i) for i in each),
            "lesion_supervised": lambda: sum(self._lesion(self._labels[i], x[i], i) for i in each),
            "translation": lambda: over_pairs(lambda i, j: norm(x_g[j], self._decode(code_of_x_g[i], j))),
            "code": lambda: sum(norm(self._code_g, code_of_x_g[i]) for i in each),
            "code_pairs": lambda: sum(norm(code_of_x_g[i], code_of_x_g[j]) for i, j in all_pairs(self._n)),
            "background": lambda: sum(norm(x_g[i] * self._m) for i in each),
        }

    def _formulas_of_made(self, made: list[tuple[tf.Tensor, int]]) -> dict[str, Callable[[], tf.Tensor]]:
        """Formulas of real slices, and of slices synthesised from maps, with their modalities."""
        x, each = self._x, range(self._n)
        return {
            "discriminator_real": lambda: sum(norm(self._d(x[i]), 1) for i in each),
            "discriminator_class": lambda: sum(self._class(x[i], i) for i in each),
            "discriminator_synthetic": lambda: sum(norm(self._d(image)) for image, _ in made),
            "adversarial": lambda: sum(norm(self._d(image), 1) for image, _ in made),
            "adversarial_class": lambda: sum(self._class(image, i) for image, i in made),
        }

    def _formulas_of_rebuilt(self) -> dict[str, Callable[[], tf.Tensor]]:
        rebuilt, x = self._rebuilt(), self._x
        inside = [tf.cast(label > 0, tf.float32) for label in self._labels]
        return {
            "self_reconstruction": lambda: sum(norm(_blurred(x[i]), _blurred(made)) for made, i in rebuilt),
            "self_reconstruction_lesion": lambda: sum(norm(inside[i] * x[i], inside[i] * made) for made, i in rebuilt),
            "self_structure": lambda: sum(norm(self._own_map(x[i], i), self._own_map(made, i)) for made, i in rebuilt),
        }

    def _formulas_of_rows(self, rebuilt_alone: bool = False) -> dict[str, Callable[[], tf.Tensor]]:
        """Formulas of all modalities of a slice together."""

        def d(images: Sequence[tf.Tensor]) -> tf.Tensor:
            return self._joint_discriminator(tf.concat(images, axis=-1))

        def made() -> list[tf.Tensor]:
            rebuilt = [image for image, _ in self._rebuilt()]
            return [d(images) for images in ([] if rebuilt_alone else [self._x_g]) + ([rebuilt] if rebuilt else [])]

        return {
            "joint_discriminator_real": lambda: norm(d(self._x), 1),
            "joint_discriminator_synthetic": lambda: sum(norm(scores) for scores in made()),
            "joint_adversarial": lambda: sum(norm(scores, 1) for scores in made()),
        }

    def _rebuilt(self) -> list[tuple[tf.Tensor, int]]:
        """Slices made of the maps and labels of x_i themselves, and i."""
        return [(self._decode(self._own_code(i), i), i) for i in range(self._n)] if self._model.rebuilds else []

    def _encode(self, image: tf.Tensor) -> tf.Tensor:
        return self._model.image_encoder(image, training=self._training)

    def _decode(self, code: tf.Tensor, modality: int) -> tf.Tensor:
        condition = tf.one_hot([modality] * code.shape[0], self._n)
        no_contrast = tf.zeros([code.shape[0], 0])
        return self._model.decoder([code, condition, no_contrast], training=self._training)

    def _d(self, image: tf.Tensor) -> tf.Tensor:
        return self._discriminator(image)[0]

    def _class(self, image: tf.Tensor, modality: int) -> tf.Tensor:
        scores = self._discriminator(image)[1]
        if not self._model.choices.softmax_class:
            return norm(scores, modality)
        exponentials = tf.exp(tf.reduce_mean(scores, axis=(1, 2)))
        return -tf.reduce_mean(tf.math.log(exponentials[:, modality] / tf.reduce_sum(exponentials, axis=-1)))

    def _one_hot(self, label: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(label == c, tf.float32) for c in range(self._classes)], axis=-1)

    def _own_code(self, i: int) -> tf.Tensor:
        """EC_R of the map and label of x_i itself; of registered slices, of the row's only map."""
        one = 0 if self._model.choices.registered else i
        f, m = (self._batch[name][:, one] for name in ("own_structure", "own_background"))
        return self._fuse(f, m, self._labels[i])

    def _fuse(self, f: tf.Tensor, m: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """EC_R of method §5's input: channel c is w_f f + w_l [l = c]."""
        choices, one_hot = self._model.choices, self._one_hot(label)
        if choices.fusion_noise:
            f = f + (0.5 + 0.1 * self._batch["noise"]) * (1 - m) * (1 - f)
        fused = tf.concat([f, one_hot], axis=-1) if choices.fusion_concatenate else 0.8 * f + 0.2 * one_hot
        return self._model.fusion_encoder(fused, training=self._training)

    def _lesion(self, label: tf.Tensor, image: tf.Tensor, modality: int) -> tf.Tensor:
        squared = (self._one_hot(label) - self._model.lesion_processor.segment(image, modality)) ** 2
        return sum(tf.reduce_mean(self._weight(c) * squared[..., c]) for c in range(self._classes)) / self._classes

    def _weight(self, label_class: int) -> float:
        weights = self._model.choices.class_weights
        return weights[min(label_class, len(weights) - 1)]

    def _structure(self, image: tf.Tensor) -> tf.Tensor:
        """‖f - f_g,i‖² outside the chosen lesion, whose edges f does not have."""
        return norm(tf.cast(self._l == 0, tf.float32) * self._f, self._map(image, self._l))

    def _own_map(self, image: tf.Tensor, i: int) -> tf.Tensor:
        """The soft map of x_i, or of a slice made from its map."""
        return self._map(image, self._labels[i])

    def _map(self, image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """The soft map of a slice outside its lesion."""
        edges = structure_maps.soft_structure_map(image, self._model.structure_map_config)
        return tf.cast(label == 0, tf.float32) * edges


def _blurred(image: tf.Tensor) -> tf.Tensor:
    """A blur of 1 pixel where slices have 64."""
    return structure_maps.gaussian_blur(image, min(image.shape[1:3]) / 64)


def all_pairs(count: int) -> Pairs:
    """All ordered pairs of modalities."""
    return list(itertools.permutations(range(count), 2))


def drawn_pairs(batch: Batch) -> Pairs:
    """The ordered pairs of a batch's first row."""
    source, target = (batch[name][0].numpy().tolist() for name in ("pair_source", "pair_target"))
    return list(zip(source, target, strict=True))


def _runs_of_two(pairs: Pairs) -> list[tuple[int, int, int]]:
    """The triples (i; j, k) and (i; k, j) of pairs (i, j), (i, k) that follow each other; with two modalities none."""
    drawn = [(i, j, k) for (i, j), (same, k) in zip(pairs[::2], pairs[1::2], strict=False) if same == i]
    return drawn + [(i, k, j) for i, j, k in drawn]
