"""The joint segmenter: one for all modalities together, any of which may be missing (beyond the paper).

The paper's designs see one modality each. This is the usual design for registered
data, where several modalities show the same tumour.
"""

import tensorflow as tf

from mmsynth_tf.algorithms import fusion
from mmsynth_tf.configs.segmentation import SegmentationLossWeights
from mmsynth_tf.configs.stage import weights_by_group
from mmsynth_tf.models import losses, networks
from mmsynth_tf.models.stage import Batch, Group, StageModel

_WEIGHTS = SegmentationLossWeights()
# Fraction of slices that keep all modalities, the usual case.
_WHOLE_SHARE = 0.5


class JointSegmenter(StageModel):
    """A 2D U-Net with one input channel for each modality.

    Batches hold `image` float32 [B, H, W, n], 0 for a missing modality, and `label` integer [B, H, W, 1].

    Args:
      image_size: height and width, pixels.
      num_modalities: n.
      num_classes: K.
      weights: of the loss terms.
      base_filters: filters of the first level.
      levels: number of resolution levels.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        num_modalities: int,
        num_classes: int,
        *,
        weights: SegmentationLossWeights = _WEIGHTS,
        base_filters: int,
        levels: int,
    ):
        super().__init__(name="joint_segmenter")
        shape = {"base_filters": base_filters, "levels": levels}
        self.num_modalities, self.num_classes = num_modalities, num_classes
        self.encoder = networks.unet_encoder(image_size, num_modalities, **shape)
        self.decoder = networks.unet_decoder(image_size, num_classes, **shape)
        self.groups = {"lesion": Group((self.encoder, self.decoder), weights_by_group(weights)["lesion"])}

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        return {"probabilities": self.decoder(self.encoder(batch["image"], training=training), training=training)}

    def formulas(self, batch, tensors):
        pair = fusion.one_hot_label(batch["label"], self.num_classes), tensors["probabilities"]
        return {
            "dice": lambda: losses.soft_dice_loss(*pair),
            "cross_entropy": lambda: losses.cross_entropy(*pair),
        }

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Registered slices float32 [B, H, W, n], 0 for a missing modality, to class probabilities [B, H, W, K]."""
        return self.forward({"image": images}, training=False)["probabilities"]

    def segment(self, images: tf.Tensor) -> tf.Tensor:
        """Registered slices float32 [B, H, W, n], 0 for a missing modality, to labels uint8 [B, H, W]."""
        return tf.cast(tf.argmax(self.probabilities(images), axis=-1), tf.uint8)


def as_channels(images: tf.Tensor) -> tf.Tensor:
    """Registered slices [B, n, H, W, 1] as the joint segmenter takes them: [B, H, W, n]."""
    return tf.transpose(images[..., 0], [0, 2, 3, 1])


def drop_modalities(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Sets random modalities to 0 in half of the slices; at least one modality of each slice remains.

    If a slice has all modalities, every number of remaining modalities is equally likely.

    Args:
      images: float32 [B, H, W, n]; a missing modality is 0.
      seed: int [2], stateless seed.

    Returns:
      float32 [B, H, W, n].
    """
    seeds = [tf.random.experimental.stateless_fold_in(seed, stream) for stream in range(3)]
    count, modalities = tf.shape(images)[0], images.shape[-1]
    there = tf.cast(tf.reduce_any(images > 0, axis=(1, 2)), tf.float32)
    # Keep the first modalities in a random order of those present.
    scores = tf.random.stateless_uniform([count, modalities], seeds[0], 1.0, 2.0) * there
    rank = tf.argsort(tf.argsort(scores, axis=-1, direction="DESCENDING"), axis=-1)
    kept = tf.random.stateless_uniform([count, 1], seeds[1], 1, modalities + 1, tf.int32)
    whole = tf.random.stateless_uniform([count, 1], seeds[2]) < _WHOLE_SHARE
    return images * tf.cast((rank < kept) | whole, images.dtype)[:, None, None, :]
