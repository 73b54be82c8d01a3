"""Chooses the ordered pairs of modalities that a step translates (docs/method.md, "How a step works").

The pair terms of the method are sums over all n (n - 1) ordered pairs (i, j), and
cycle consistency compares x_cr,j,i with x_cr,k,i. Drawing triples (i; j, k) for
each slice estimates the same sums without bias, at a cost that does not depend on n.
Pairs with the same source i are consecutive (a run).
"""

import tensorflow as tf


def every_modality(batch_size: tf.Tensor | int, num_modalities: int) -> tf.Tensor:
    """The indices of all modalities for each slice: int32 [B, n]."""
    return tf.tile(tf.range(num_modalities)[None], [batch_size, 1])


def run_length(num_modalities: int, triples: int) -> int:
    """Number of consecutive pairs that share their source."""
    return min(2, num_modalities - 1) if triples else num_modalities - 1


def exact_pairs(batch_size: int, num_modalities: int) -> tuple[tf.Tensor, tf.Tensor]:
    """All ordered pairs, for each slice: source and target, int32 [B, n (n - 1)]."""
    ordered = [(i, j) for i in range(num_modalities) for j in range(num_modalities) if j != i]
    table = tf.constant(ordered, tf.int32)
    return tuple(tf.tile(table[None, :, side], [batch_size, 1]) for side in (0, 1))


def sampled_pairs(batch_size: int, num_modalities: int, triples: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws `triples` triples (i; j, k) for each slice, with i, j and k distinct.

    With two modalities there is no k, and each draw is one pair.

    Args:
      batch_size: B.
      num_modalities: n.
      triples: draws for each slice, T.
      seed: int [2], stateless seed.

    Returns:
      source and target, int32 [B, T run_length].
    """
    scores = tf.random.stateless_uniform([batch_size, triples, num_modalities], seed)
    order = tf.argsort(scores, axis=-1)  # A random permutation of the modalities for each draw.
    run = run_length(num_modalities, triples)
    source = tf.repeat(order[:, :, :1], run, axis=-1)
    target = order[:, :, 1 : 1 + run]
    return tf.reshape(source, [batch_size, -1]), tf.reshape(target, [batch_size, -1])
