"""Runs several groups of slices through a network in one call.

Axes: B rows, k slices of each; groups may differ in both.
"""

import tensorflow as tf


def one_pass(network: tf.keras.Model, parts: list, training: bool) -> list:
    """Runs a network once on several inputs.

    Args:
      network: takes a tensor [N, ...] or a list of tensors.
      parts: tensors [B, k, ...], or tuples of tensors for a network with several inputs; B and k may differ.
      training: passed to the network.

    Returns:
      The output [B, k, ...] for each part, or a tuple of tensors for a network with several outputs.
    """
    joined = tf.nest.map_structure(lambda *tensors: tf.concat([merge(t) for t in tensors], axis=0), *parts)
    outputs = network(list(joined) if isinstance(joined, tuple) else joined, training=training)
    shapes = [tf.nest.flatten(part)[0].shape[:2] for part in parts]

    def by_part(output: tf.Tensor) -> list[tf.Tensor]:
        # A single part may have a free batch dimension.
        pieces = tf.split(output, [b * k for b, k in shapes]) if len(parts) > 1 else [output]
        return [separate(piece, k) for piece, (_, k) in zip(pieces, shapes, strict=True)]

    if isinstance(outputs, list | tuple):
        return list(zip(*map(by_part, outputs), strict=True))
    return by_part(outputs)


def merge(tensor: tf.Tensor) -> tf.Tensor:
    """[B, k, ...] to [B k, ...]."""
    rows, k = tensor.shape[:2]
    # No -1 here: TensorFlow cannot infer a dimension of a tensor without elements.
    return tf.reshape(tensor, [(tf.shape(tensor)[0] if rows is None else rows) * k, *tensor.shape[2:]])


def separate(tensor: tf.Tensor, k: int) -> tf.Tensor:
    """[B k, ...] to [B, k, ...]."""
    rows = tensor.shape[0]
    return tf.reshape(tensor, [(tf.shape(tensor)[0] if rows is None else rows) // k, k, *tensor.shape[1:]])


def gather(values, indices: tf.Tensor):
    """Rows [B, p, ...] of values [B, k, ...]: a tensor, or a tuple of them."""
    return tf.nest.map_structure(lambda v: tf.gather(v, indices, batch_dims=1), values)
