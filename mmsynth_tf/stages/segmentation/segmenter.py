"""Lesion segmenters (paper §2.9, method §8)."""

import tensorflow as tf

from mmsynth_tf.algorithms import fusion
from mmsynth_tf.configs import SegmentationConfig
from mmsynth_tf.models import losses
from mmsynth_tf.models.stage import Batch, Group, StageModel
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor


class Segmenter(StageModel):
    """One segmenter a modality, trained side by side.

    Batches hold `image` float32 [B, n, H, W, 1] and `label` integer [B, n, H, W, 1].
    """

    def __init__(self, config: SegmentationConfig, lesion_processor: LesionProcessor):
        super().__init__(name="segmenter")
        self.lesion_processor = lesion_processor
        self.num_modalities, self.num_classes = lesion_processor.num_modalities, lesion_processor.num_classes
        self.class_weights, self.term_weights = config.class_weights, config.weights
        self.groups = {"lesion": Group(lesion_processor.networks, ("squared_error", "dice", "cross_entropy"))}

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        return {"probabilities": self.lesion_processor(batch["image"], training=training)}

    def loss_terms(self, batch, tensors):
        terms = {"squared_error": 0.0, "dice": 0.0, "cross_entropy": 0.0}
        one_hot = fusion.one_hot_label(batch["label"], self.num_classes)
        for i in range(self.num_modalities):
            truth, predicted = one_hot[:, i], tensors["probabilities"][:, i]
            terms["squared_error"] += losses.lesion_squared_error(truth, predicted, self.class_weights)
            terms["dice"] += losses.soft_dice_loss(truth, predicted)
            terms["cross_entropy"] += losses.cross_entropy(truth, predicted)
        return terms

    def segment(self, images: tf.Tensor) -> tf.Tensor:
        """Slices of every modality to labels.

        Args:
          images: float32 [B, n, H, W, 1] in [0, 1].

        Returns:
          uint8 [B, n, H, W, 1].
        """
        probabilities = self.lesion_processor(images, training=False)
        return tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8)[..., None]
