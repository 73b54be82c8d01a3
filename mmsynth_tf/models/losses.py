"""Losses: pure, unweighted functions (method §3, §6, §8).

‖a-b‖² is the mean over all elements. Weights live in the configuration and are
applied once, by `weighted_sum`.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf


def squared_error(a: tf.Tensor, b: tf.Tensor | float = 0.0) -> tf.Tensor:
    """‖a-b‖²: mean over all elements, float32 scalar."""
    return tf.reduce_mean(tf.square(tf.cast(a, tf.float32) - tf.cast(b, tf.float32)))


def least_squares_real_loss(scores: tf.Tensor) -> tf.Tensor:
    """‖d-1‖²: of the discriminator for real input, of the generator for its output."""
    return squared_error(scores, 1.0)


def least_squares_fake_loss(scores: tf.Tensor) -> tf.Tensor:
    """‖d‖²: of the discriminator for generated input."""
    return squared_error(scores)


def moments_loss(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """‖mean(z_mean)‖² + ‖mean(exp(0.5 logvar)) - 1‖², means over the whole batch (method §3).

    Args:
      z_mean: float32 [B, L].
      z_log_var: float32 [B, L].
    """
    mean = across_replicas(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(z_mean))
    stddev = across_replicas(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(tf.exp(0.5 * z_log_var)))
    return tf.square(mean) + tf.square(stddev - 1.0)


def divergence_loss(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """Kullback-Leibler divergence of N(z_mean, exp(z_log_var)) from N(0, 1), mean over elements, nats."""
    return 0.5 * tf.reduce_mean(tf.square(z_mean) + tf.exp(z_log_var) - 1.0 - z_log_var)


def modality_regression_loss(scores: tf.Tensor, modality: tf.Tensor) -> tf.Tensor:
    """‖c - i‖²: the class as a number (paper).

    Args:
      scores: float32 [N, h, w, 1].
      modality: int32 [N].
    """
    return squared_error(scores, tf.cast(modality, tf.float32)[:, None, None, None])


def modality_classification_loss(logits: tf.Tensor, modality: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy of the modality, from the mean logits of all patches.

    Patches outside the head do not show the modality, so the loss is not computed patch by patch.

    Args:
      logits: float32 [N, h, w, n].
      modality: int32 [N].
    """
    logits = tf.reduce_mean(logits, axis=(1, 2))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=modality, logits=logits))


def lesion_squared_error(one_hot: tf.Tensor, probabilities: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """‖l - l_r‖² on one-hot channels, weighted by class.

    Args:
      one_hot: float32 [..., K].
      probabilities: float32 [..., K] in [0, 1].
      class_weights: one number for each class; the last applies to all further classes.
    """
    classes = one_hot.shape[-1]
    class_weights = [*class_weights, *[class_weights[-1]] * (classes - len(class_weights))][:classes]
    return tf.reduce_mean(tf.square(one_hot - probabilities) * tf.constant(class_weights, tf.float32))


def soft_dice_loss(one_hot: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """1 - soft Dice over the global batch, mean over the lesion classes (channel 0 is excluded).

    Classes without a pixel in the batch's labels are excluded, so that they do not dominate.

    Args:
      one_hot: float32 [B, H, W, K].
      probabilities: float32 [B, H, W, K] in [0, 1].
    """
    axes = tuple(range(one_hot.shape.rank - 1))
    # Channel 0 is dropped after the sums: the gradient of slicing the images would copy them.
    sums = tf.stack([tf.reduce_sum(x, axes)[1:] for x in (one_hot * probabilities, one_hot, probabilities)])
    overlap, true_area, predicted_area = tf.unstack(across_replicas(tf.distribute.ReduceOp.SUM, sums))
    present = tf.cast(true_area > 0, tf.float32)
    dice = 2.0 * overlap / (true_area + predicted_area + 1e-5)
    return tf.math.divide_no_nan(tf.reduce_sum(present * (1.0 - dice)), tf.reduce_sum(present))


def cross_entropy(one_hot: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Mean over pixels of -log p of the true class; arguments as in `soft_dice_loss`."""
    return -tf.reduce_mean(tf.reduce_sum(one_hot * tf.math.log(probabilities + 1e-7), axis=-1))


def pairwise_squared_error(tensors: tf.Tensor) -> tf.Tensor:
    """Sum over ordered pairs j ≠ k of ‖a_j - a_k‖², summed over groups and averaged over the batch.

    Σ_j≠k ‖a_j - a_k‖² = 2 m Σ_j ‖a_j - mean(a)‖²: m terms instead of m (m - 1).

    Args:
      tensors: float32 [B, groups, m, ...].
    """
    members = tensors.shape[2]
    deviation = tensors - tf.reduce_mean(tensors, axis=2, keepdims=True)
    terms = tensors.shape[1] * members
    return 2.0 * members * terms * squared_error(deviation)


def weighted_sum(weights: Mapping[str, float], terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Σ weight · term, float32 scalar.

    Args:
      weights: weight of each term by name, at least one.
      terms: scalars by name; terms without a weight are ignored.

    Raises:
      ValueError: there is no weight, or a term is missing.
    """
    if not weights or not set(weights) <= set(terms):
        raise ValueError(f"Loss terms {sorted(terms)} do not match the weights {sorted(weights)}.")
    return tf.add_n([weight * terms[name] for name, weight in weights.items()])


def across_replicas(operation: tf.distribute.ReduceOp, value: tf.Tensor) -> tf.Tensor:
    """Reduces a batch statistic over replicas, so that a loss that is nonlinear in it equals that on one device."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(operation, value)
