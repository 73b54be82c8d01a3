"""Finds the operation that first makes a value that is not finite (``train.py --detect_anomaly``)."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from mmsynth_tf.training.callbacks import NonFiniteLossError

_FOUND = re.compile(r"Detected (?P<what>.+?) in output \d+ of .*?op \"(?P<operation>[^\"]+)\"")
_OWN_LINE = re.compile(r"mmsynth_tf/(?P<file>[\w/]+\.py)\D+(?P<line>\d+)")


@contextlib.contextmanager
def detected() -> Iterator[None]:
    """Context in which the floating-point outputs of all operations are checked, which is slow.

    Raises:
      NonFiniteLossError: a value is not finite; the message names the operation and the line that created it.
    """
    tf.debugging.enable_check_numerics()
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _FOUND.search(str(error))
        if not found:
            raise
        lines = _OWN_LINE.findall(str(error))
        place = ", made in {} line {}".format(*lines[-1]) if lines else ""
        raise NonFiniteLossError(f"{found['what']} in the output of {found['operation']}{place}.") from error
    finally:
        tf.debugging.disable_check_numerics()
