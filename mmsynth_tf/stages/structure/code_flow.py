"""A normalising flow between structure codes and standard normal noise (Dinh et al., 2017); beyond the paper."""

import math

import tensorflow as tf

from mmsynth_tf import compat  # noqa: F401 (it sets what layers are built with)

_LARGEST_LOG_SCALE = 2.0


class CodeFlow(tf.keras.Model):
    """Affine couplings, each followed by a reversal of the dimensions. Initially it only reorders the dimensions.

    Args:
      latent_dim: L, at least 2.
      couplings: number of coupling layers.
      condition_size: C, number of values on which the distribution of codes depends; 0: on nothing.
      units: width of the two hidden layers of each coupling.
    """

    def __init__(self, latent_dim: int, *, couplings: int, condition_size: int = 0, units: int = 128):
        # Always in single precision, because likelihoods are compared to the third decimal.
        super().__init__(name="code_flow", dtype="float32")
        self.latent_dim, self._kept = latent_dim, latent_dim // 2
        self.couplings = [self._coupling(units, condition_size) for _ in range(couplings)]
        self.built = True  # As in `StageModel.compile`.

    def call(self, code, condition, training=False):
        """Codes to noise.

        Args:
          code: float32 [B, L].
          condition: float32 [B, C].

        Returns:
          noise: float32 [B, L].
          log_determinant: float32 [B], log determinant of the Jacobian of the noise with respect to the code.
        """
        x, log_determinant = code, tf.zeros(tf.shape(code)[:1])
        for coupling in self.couplings:
            kept, moved, log_scale, shift = self._split(coupling, x, condition)
            moved = (moved - shift) * tf.exp(-log_scale)
            log_determinant -= tf.reduce_sum(log_scale, axis=1)
            x = tf.reverse(tf.concat([kept, moved], axis=1), [1])
        return x, log_determinant

    def inverse(self, noise: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        """Noise to codes, both float32 [B, L], under conditions float32 [B, C]."""
        x = noise
        for coupling in reversed(self.couplings):
            kept, moved, log_scale, shift = self._split(coupling, tf.reverse(x, [1]), condition)
            x = tf.concat([kept, moved * tf.exp(log_scale) + shift], axis=1)
        return x

    def negative_log_likelihood(self, code: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        """Negative log-likelihood of codes [B, L] under conditions [B, C]: mean over batch and dimensions, nats."""
        noise, log_determinant = self(code, condition)
        squares = tf.reduce_sum(tf.square(noise), axis=1)
        return tf.reduce_mean(0.5 * squares - log_determinant) / self.latent_dim + 0.5 * math.log(2.0 * math.pi)

    def _coupling(self, units: int, condition_size: int) -> tf.keras.Model:
        """Unchanged dimensions and condition [B, L // 2 + C] to scale and shift of the others [B, 2 (L - L // 2)]."""
        # Zero weights give scale 1 and shift 0, so the coupling starts as the identity.
        last = tf.keras.layers.Dense(2 * (self.latent_dim - self._kept), kernel_initializer="zeros", dtype="float32")
        hidden = [tf.keras.layers.Dense(units, activation="relu", dtype="float32") for _ in range(2)]
        return tf.keras.Sequential([tf.keras.Input((self._kept + condition_size,)), *hidden, last])

    def _split(self, coupling: tf.keras.Model, x: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, ...]:
        kept, moved = x[:, : self._kept], x[:, self._kept :]
        log_scale, shift = tf.split(coupling(tf.concat([kept, condition], axis=1)), 2, axis=1)
        # The bound keeps codes far from all others from diverging.
        log_scale = _LARGEST_LOG_SCALE * tf.tanh(log_scale / _LARGEST_LOG_SCALE)
        return kept, moved, log_scale, shift
