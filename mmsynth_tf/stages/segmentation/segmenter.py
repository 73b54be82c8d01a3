"""Lesion segmenters (paper §2.9, method §8)."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmsynth_tf.algorithms import fusion
from mmsynth_tf.configs import SegmentationConfig
from mmsynth_tf.configs.stage import weights_by_group
from mmsynth_tf.models import losses
from mmsynth_tf.models.stage import Batch, Group, StageModel
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor


class Segmenter(StageModel):
    """One segmenter for each modality, trained together.

    Batches hold `image` float32 [B, n, H, W, 1] and `label` integer [B, n, H, W, 1].
    """

    def __init__(self, config: SegmentationConfig, lesion_processor: LesionProcessor):
        super().__init__(name="segmenter")
        self.lesion_processor = lesion_processor
        self.num_modalities, self.num_classes = lesion_processor.num_modalities, lesion_processor.num_classes
        self.class_weights = config.choices.class_weights
        weights = weights_by_group(config.choices.weights)
        self.groups = {"lesion": Group(lesion_processor.networks, weights["lesion"])}

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        return {"probabilities": self.lesion_processor(batch["image"], training=training)}

    def formulas(self, batch, tensors):
        truth = tf.unstack(fusion.one_hot_label(batch["label"], self.num_classes), axis=1)
        predicted = tf.unstack(tensors["probabilities"], axis=1)

        def over_modalities(loss: Callable[..., tf.Tensor], *arguments: Any) -> Callable[[], tf.Tensor]:
            return lambda: tf.add_n([loss(t, p, *arguments) for t, p in zip(truth, predicted, strict=True)])

        return {
            "squared_error": over_modalities(losses.lesion_squared_error, self.class_weights),
            "dice": over_modalities(losses.soft_dice_loss),
            "cross_entropy": over_modalities(losses.cross_entropy),
        }

    def segment(self, images: tf.Tensor) -> tf.Tensor:
        """Slices of every modality to labels.

        Args:
          images: float32 [B, n, H, W, 1] in [0, 1].

        Returns:
          uint8 [B, n, H, W, 1].
        """
        probabilities = self.lesion_processor(images, training=False)
        return tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8)[..., None]
