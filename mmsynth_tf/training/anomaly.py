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
    """Within it every floating-point tensor of every operation is checked, which is slow.

    Raises:
      NonFiniteLossError: names the operation, and the line that made it.
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
