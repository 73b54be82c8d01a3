"""Lesion processors L_i: slices to label probabilities, in the three designs of paper §2.7."""

import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.models import networks as models_networks


class LesionProcessor(tf.keras.Model):
    """One network for each modality, or parts shared by all, behind one interface.

    `1seg` shares the whole U-Net, `1ecl_4dcl` its encoder, `4seg` nothing.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        num_modalities: int,
        num_classes: int,
        *,
        design: str,
        base_filters: int,
        levels: int,
        dropout: float = 0.0,
        initializer: models_networks.Initializer | None = None,
    ):
        super().__init__(name="lesion_processor")
        if design not in constants.LESION_DESIGNS:
            raise UserError(
                f"Unknown lesion design {design!r}; choose one of {', '.join(constants.LESION_DESIGNS)}. The joint "
                "segmenter is a stage of its own: train.py --stage=joint."
            )
        shape = {"base_filters": base_filters, "levels": levels, "initializer": initializer}
        encoders = num_modalities if design == constants.SEGMENTER_PER_MODALITY else 1
        decoders = 1 if design == constants.ONE_SEGMENTER else num_modalities
        self.num_modalities, self.num_classes = num_modalities, num_classes
        self.encoders = [models_networks.unet_encoder(image_size, 1, dropout=dropout, **shape) for _ in range(encoders)]
        self.decoders = [models_networks.unet_decoder(image_size, num_classes, **shape) for _ in range(decoders)]
        self.built = True  # As in `StageModel.compile`.

    @property
    def networks(self) -> tuple[tf.keras.Model, ...]:
        return (*self.encoders, *self.decoders)

    def call(self, images, training=False):
        """Segments slices of every modality.

        Args:
          images: float32 [B, n, H, W, 1] in [0, 1], modality i at position i.

        Returns:
          float32 [B, n, H, W, K], probabilities of the classes.
        """
        if len(self.encoders) > 1:
            slices = tf.unstack(images, axis=1)
            features = [net(own, training=training) for net, own in zip(self.encoders, slices, strict=True)]
            return self._decode_each(features, training)
        shared = self.encoders[0](tf.reshape(images, [-1, *images.shape[2:]]), training=training)
        if len(self.decoders) > 1:
            levels = [tf.unstack(self._split(level), axis=1) for level in tf.nest.flatten(shared)]
            features = [tf.nest.pack_sequence_as(shared, own) for own in zip(*levels, strict=True)]
            return self._decode_each(features, training)
        return self._split(self.decoders[0](shared, training=training))

    def segment(self, slices: tf.Tensor, modality: int) -> tf.Tensor:
        """Segments slices [B, H, W, 1] of one modality: float32 [B, H, W, K]."""
        features = self.encoders[modality % len(self.encoders)](slices, training=False)
        return self.decoders[modality % len(self.decoders)](features, training=False)

    def _decode_each(self, features, training: bool) -> tf.Tensor:
        """Each modality's features by its own decoder: float32 [B, n, H, W, K]."""
        made = [net(own, training=training) for net, own in zip(self.decoders, features, strict=True)]
        return tf.stack(made, axis=1)

    def _split(self, tensor: tf.Tensor) -> tf.Tensor:
        """[B n, ...] to [B, n, ...]."""
        return tf.reshape(tensor, [-1, self.num_modalities, *tensor.shape[1:]])
