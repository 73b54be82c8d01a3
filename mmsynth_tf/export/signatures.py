"""The functions that an exported SavedModel offers, traced from trained stages."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import DataConfig, TranslationConfig
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.stages.synthesis.translation import Translator

Outputs = dict[str, tf.Tensor]

# Descriptions of inputs and outputs by name; all other outputs are slices, named after their modality.
VALUES = {
    "code": "latent code, standard normal",
    "position": "place of the slice along the head: 0 at the lowest slice that shows the head, 1 at the highest",
    "structure": "structure map: 1 on edges, 0 elsewhere; sample_structure gives probabilities",
    "background": "1 OUTSIDE the head, 0 inside; sample_structure gives probabilities",
    "label": "class of each pixel, an index of label_classes; no lesion lies outside the head",
    "noise": "uniform in [0, 1)",
    "contrast": "wanted contrast of each modality, standardised over real slices: mean and standard deviation of the "
    "head without lesion, then the mean of each lesion class minus the first mean",
    "image": "slice in [0, 1], 0 outside the head and at least foreground_min inside",
    "target": "the wanted modality of each slice, an index of modalities",
    "images": "registered slices, a channel for each of modalities, in [0, 1] as image; 0 where a modality is missing",
    "probabilities": "probability of each of label_classes, summing to 1 over the last axis",
}
_SLICE = "slice of this modality in [0, 1], 0 outside the head"


class Signatures:
    """The functions of the stages that there are.

    Every function treats the slices of a batch independently, and the batch dimension is free.

    Args:
      models: trained stages by name, at least one.
      data: what the stages were trained on.
      translation: how the synthesis stage translates.
    """

    def __init__(
        self,
        models: Mapping[str, StageModel],
        data: DataConfig,
        translation: TranslationConfig,
    ):
        self._structure_gan = models.get(constants.STRUCTURE)
        self._modality_gan = models.get(constants.SYNTHESIS)
        self._segmenter = models.get(constants.SEGMENTATION)
        self._joint = models.get(constants.JOINT)
        self._translator = Translator(self._modality_gan, translation)
        self._data = data

    def sample_structure(self, code: tf.Tensor, position: tf.Tensor | None = None) -> Outputs:
        structure, background = self._structure_gan.sample(code, _or_zeros(position, code))
        return {"structure": structure, "background": background}

    def synthesize(
        self,
        structure: tf.Tensor,
        background: tf.Tensor,
        label: tf.Tensor,
        noise: tf.Tensor | None = None,
        contrast: tf.Tensor | None = None,
    ) -> Outputs:
        _require_index(label, self._data.num_classes, "label")
        # Models without a noise input ignore it.
        noise = tf.zeros_like(structure) if noise is None else noise
        if contrast is None:
            contrast = tf.zeros([tf.shape(structure)[0], self._data.num_modalities, 0])
        images = self._modality_gan.synthesize(structure, background, label, noise, contrast)
        return dict(zip(self._data.modalities, tf.unstack(images, axis=1), strict=True))

    def generate(
        self, code: tf.Tensor, label: tf.Tensor, position: tf.Tensor | None = None, **appearance: tf.Tensor
    ) -> Outputs:
        structure, background = self._structure_gan.sample_binary(code, _or_zeros(position, code))
        # Edges outside the head would be drawn into the empty background.
        structure = structure * (1.0 - background)
        return {
            "structure": structure,
            "background": background,
            **self.synthesize(structure, background, label, **appearance),
        }

    def translate(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor | None = None) -> Outputs:
        _require_index(target, self._data.num_modalities, "target")
        if label is not None:
            _require_index(label, self._data.num_classes, "label")
        return {"image": self._translator.translate(images, target, label)}

    def segment_one(self, image: tf.Tensor, modality: int) -> Outputs:
        return {"probabilities": self._segmenter.lesion_processor.segment(image, modality)}

    def segment(self, images: tf.Tensor) -> Outputs:
        return {"probabilities": self._joint.probabilities(images)}

    def trace(self) -> dict[str, Any]:
        """Concrete functions by signature name, only those whose stages there are."""
        height, width = self._data.image_size
        image = tf.TensorSpec([None, height, width, 1], tf.float32)
        label = tf.TensorSpec([None, height, width, 1], tf.uint8)
        channels = tf.TensorSpec([None, height, width, self._data.num_modalities], tf.float32)
        traced = {}
        if self._structure_gan:
            anatomy = {"code": tf.TensorSpec([None, self._structure_gan.code_dim], tf.float32)}
            if self._structure_gan.choices.position:
                anatomy["position"] = tf.TensorSpec([None], tf.float32)
            traced["sample_structure"] = _trace(self.sample_structure, **anatomy)
        if self._modality_gan:
            appearance = self._appearance(image)
            traced["synthesize"] = _trace(self.synthesize, structure=image, background=image, label=label, **appearance)
            translated = {"images": channels, "target": tf.TensorSpec([None], tf.int32)}
            if self._translator.needs_label:
                translated["label"] = label
            traced["translate"] = _trace(self.translate, **translated)
        if self._structure_gan and self._modality_gan:
            traced["generate"] = _trace(self.generate, **anatomy, label=label, **appearance)
        if self._segmenter:
            for index, name in enumerate(self._data.modalities):
                traced[f"segment_{name}"] = _trace(functools.partial(self.segment_one, modality=index), image=image)
        if self._joint:
            traced["segment"] = _trace(self.segment, images=channels)
        return traced

    def _appearance(self, image: tf.TensorSpec) -> dict[str, tf.TensorSpec]:
        """The inputs that control appearance, as far as the model takes any: noise, contrast."""
        inputs = {}
        if self._modality_gan.choices.fusion_noise:
            inputs["noise"] = image
        if size := self._modality_gan.contrast_scale.size:
            inputs["contrast"] = tf.TensorSpec([None, self._data.num_modalities, size], tf.float32)
        return inputs


def describe(function: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Inputs and outputs of a traced function: name to dtype, shape (None is free) and meaning."""
    return {
        kind: {name: _describe_value(name, value) for name, value in values.items()}
        for kind, values in (("inputs", inputs(function)), ("outputs", function.structured_outputs))
    }


def inputs(function: Any) -> dict[str, tf.TensorSpec]:
    """What a traced function takes, by name."""
    arguments = tf.nest.flatten(function.structured_input_signature)
    return {argument.name: argument for argument in arguments if isinstance(argument, tf.TensorSpec)}


def _describe_value(name: str, value: tf.TensorSpec | tf.Tensor) -> dict[str, Any]:
    return {"dtype": value.dtype.name, "shape": value.shape.as_list(), "meaning": VALUES.get(name, _SLICE)}


def _trace(function: Callable[..., Outputs], **inputs: tf.TensorSpec) -> Any:
    named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in inputs.items()}
    return tf.function(function, autograph=False).get_concrete_function(**named)


def _or_zeros(position: tf.Tensor | None, code: tf.Tensor) -> tf.Tensor:
    """The position of each code; models that take none ignore it."""
    return tf.zeros(tf.shape(code)[:1]) if position is None else position


def _require_index(values: tf.Tensor, count: int, name: str) -> None:
    """Refuses, when the function runs, what one-hot encoding would silently turn into zeros."""
    values = tf.cast(values, tf.int32)
    message = f"{name} must be one of 0..{count - 1}"
    tf.debugging.assert_non_negative(values, message)
    tf.debugging.assert_less(values, count, message)
