"""Lesion processors L_i: slices to label probabilities, in the three designs of paper §2.7."""

import tensorflow as tf

from mmsynth_tf import commands, constants
from mmsynth_tf.models import networks


class LesionProcessor(tf.keras.Model):
    """One network a modality, or parts shared by all, behind one interface.

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
        initializer: networks.Initializer | None = None,
    ):
        super().__init__(name="lesion_processor")
        if design not in constants.LESION_DESIGNS:
            raise commands.UserError(
                f"Unknown lesion design {design!r}; choose one of {', '.join(constants.LESION_DESIGNS)}."
            )
        shape = {"base_filters": base_filters, "levels": levels, "initializer": initializer}
        encoders = num_modalities if design == constants.SEGMENTER_PER_MODALITY else 1
        decoders = 1 if design == constants.ONE_SEGMENTER else num_modalities
        self.num_modalities, self.num_classes = num_modalities, num_classes
        self.encoders = [networks.unet_encoder(image_size, 1, dropout=dropout, **shape) for _ in range(encoders)]
        self.decoders = [networks.unet_decoder(image_size, num_classes, **shape) for _ in range(decoders)]
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
        features = self._per_modality(self.encoders, [images], training)
        return self._per_modality(self.decoders, features, training)[0]

    def segment(self, slices: tf.Tensor, modality: int) -> tf.Tensor:
        """Segments slices [B, H, W, 1] of one modality: float32 [B, H, W, K]."""
        features = self.encoders[modality % len(self.encoders)](slices, training=False)
        return self.decoders[modality % len(self.decoders)](features, training=False)

    def _per_modality(self, nets, tensors, training):
        """Runs a shared network on all modalities as one batch, or each modality's network on its own."""
        if len(nets) == 1:
            flat = [tf.reshape(t, [-1, *t.shape[2:]]) for t in tensors]
            outputs = _as_list(nets[0](flat if len(flat) > 1 else flat[0], training=training))
            return [tf.reshape(o, [-1, self.num_modalities, *o.shape[1:]]) for o in outputs]
        outputs = []
        for index, net in enumerate(nets):
            own = [t[:, index] for t in tensors]
            outputs.append(_as_list(net(own if len(own) > 1 else own[0], training=training)))
        return [tf.stack(parts, axis=1) for parts in zip(*outputs, strict=True)]


def _as_list(outputs):
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
