"""The only module that knows which Keras it runs on.

Keras 2 (TensorFlow 2.15, with TensorFlow Addons) and Keras 3 (TensorFlow 2.21,
for which Addons does not exist) share everything else through ``tf.keras``.
"""

import warnings
from collections.abc import Sequence

import tensorflow as tf

KERAS_3 = hasattr(tf.keras, "ops")

# The user's ~/.keras/keras.json, perhaps written for another project, must not change networks.
tf.keras.backend.set_image_data_format("channels_last")
tf.keras.backend.set_floatx("float32")
tf.keras.backend.set_epsilon(1e-7)

if KERAS_3:
    SpectralNormalization = tf.keras.layers.SpectralNormalization
else:
    # Keras 2.15's own layer fails inside a compiled train_step; that of Addons works.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hides the notice that Addons has ended, which no user can act on.
        from tensorflow_addons.layers import SpectralNormalization  # noqa: F401

# Keras 2 would compile each variable's update separately on a GPU.
OPTIMIZER_OPTIONS = {} if KERAS_3 else {"jit_compile": False}

LossScaleOptimizer = tf.keras.mixed_precision.LossScaleOptimizer


def scaled_loss(optimizer: tf.keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """The loss to differentiate: multiplied by the loss scale where `optimizer` has one."""
    if not isinstance(optimizer, LossScaleOptimizer):
        return loss
    return optimizer.scale_loss(loss) if KERAS_3 else optimizer.get_scaled_loss(loss)


def apply_scaled_gradients(
    optimizer: tf.keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
) -> None:
    """Applies gradients of `scaled_loss`."""
    if isinstance(optimizer, LossScaleOptimizer) and not KERAS_3:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def adam_moments(optimizer: tf.keras.optimizers.Adam, variable: tf.Variable) -> tuple[tf.Variable, tf.Variable]:
    """Adam's variables for the two moments of a variable's gradient."""
    index_of = optimizer._get_variable_index if KERAS_3 else lambda v: optimizer._index_dict[optimizer._var_key(v)]
    index = index_of(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def handle(variable: tf.Variable) -> tf.Tensor:
    """The resource of a variable, on this device within a strategy's update."""
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle
