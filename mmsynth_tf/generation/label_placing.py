"""Places real labels into heads (paper §2.8)."""

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.algorithms import warping
from mmsynth_tf.generation import anatomy, heads
from mmsynth_tf.generation.label_pool import LabelPool

# Labels tried for each head, and transforms drawn with them, before the head is given up.
_LABEL_TRIES = 16
# Streams of random numbers, as in `sampling`.
_LABEL, _LABEL_TRANSFORM = 1, 2


class LabelPlacing:
    """Draws for each head a label of about its height that fits.

    Args:
      pool: the labels.
      image_size: height and width, pixels.
      augmentation: ranges of the transforms of labels.
      seed: of all draws.
    """

    def __init__(
        self, pool: LabelPool, image_size: tuple[int, int], augmentation: configs.AugmentationConfig, seed: int
    ):
        self._pool, self._image_size, self._augmentation, self._seed = pool, image_size, augmentation, seed

    def place(self, numbers: np.ndarray, positions: np.ndarray, backgrounds: np.ndarray) -> anatomy.Row:
        """Places labels.

        Args:
          numbers: int64 [B], of the draws.
          positions: float32 [B], along the head.
          backgrounds: uint8 [B, H, W, 1], 1 outside the head.

        Returns:
          `label` uint8 [B, H, W, 1]; `label_choice` int64 [B], its index in the pool;
          `label_transform` float32 [B, 8]; and `found` bool [B], whether any label fits.
        """
        draws = tf.constant(numbers)
        choices = self._pool.near(positions, self._chances(draws).numpy())
        frames = np.stack([heads.frame(background[..., 0] == 0) for background in backgrounds])
        own = self._pool.frames[choices]
        moves = (
            own[..., :2],
            np.broadcast_to(frames[:, None, :2], own[..., :2].shape),
            heads.ratio(own, frames[:, None]),
        )
        head = tf.constant(backgrounds, tf.float32)
        names = "label", "label_choice", "label_transform", "found"
        drawn = self._first_fitting(draws, tf.constant(choices), head, *map(tf.constant, moves))
        return {name: values.numpy() for name, values in zip(names, drawn, strict=True)}

    @tf.function(autograph=False)
    def _chances(self, numbers: tf.Tensor) -> tf.Tensor:
        """Uniform numbers that choose the labels to try: float32 [B, tries]."""
        return anatomy.of_each(lambda d: tf.random.stateless_uniform([_LABEL_TRIES], [self._seed + _LABEL, d]), numbers)

    @tf.function(autograph=False)
    def _first_fitting(
        self,
        numbers: tf.Tensor,
        choices: tf.Tensor,
        background: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
        ratio: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """For each map: the first of the chosen labels that fits, its index and transform, and whether any fits.

        Labels without a lesion always fit. Where the first label has a lesion, others with one come before them, so
        that lesions do not become rarer.
        The last three arguments, float32 [B, tries, 2], are those of `warping.between_heads`.
        """
        size = self._image_size
        transforms = anatomy.of_each(
            lambda d: warping.random_transforms(
                _LABEL_TRIES, size, self._augmentation, tf.stack([self._seed + _LABEL_TRANSFORM, d])
            ),
            numbers,
        )
        moves = (tf.reshape(values, [-1, 2]) for values in (source, target, ratio))
        flat = warping.between_heads(tf.reshape(transforms, [-1, 8]), size, *moves)
        candidates = tf.gather(self._pool.labels, tf.reshape(choices, [-1]))
        candidates = warping.transform(candidates, flat, "NEAREST")
        transforms = tf.reshape(flat, tf.shape(transforms))
        candidates = tf.reshape(candidates, [-1, _LABEL_TRIES, *size, 1])
        lesion = tf.cast(candidates > 0, tf.float32)
        fitting = tf.reduce_sum(lesion * background[:, None], axis=(2, 3, 4)) < 0.5
        shows_lesion = tf.reduce_any(lesion > 0, axis=(2, 3, 4))
        as_the_first = fitting & (shows_lesion == shows_lesion[:, :1])
        first = tf.argmax(tf.cast(fitting, tf.int32) + tf.cast(as_the_first, tf.int32), axis=1)
        picked = [tf.gather(t, first, batch_dims=1) for t in (candidates, choices, transforms)]
        return *picked, tf.reduce_any(fitting, axis=1)
