"""The number type that layers compute in."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from mmsynth_tf.errors import UserError

_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def policy(policy: str) -> Iterator[None]:
    """Within it Keras layers are built with the given policy: float32, mixed_bfloat16 or mixed_float16."""
    if policy not in _PRECISIONS:
        raise UserError(f"runtime.precision is {policy!r}; choose one of {', '.join(_PRECISIONS)}.")
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
