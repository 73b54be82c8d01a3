"""Start and end of all command-line programs: environment, signals, and one clear line for errors of the user.

This module must not import TensorFlow.
"""

import errno
import logging
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Sequence

import absl.logging
from absl import app

from mmsynth_tf.errors import STOP_SIGNALS, Interrupted, UserError, interrupt

_OTHER_KERAS = ("TF_USE_LEGACY_KERAS", "KERAS_NNX_ENABLED", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")
# Variables that TensorFlow, and the libraries below NumPy, read when they are imported.
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
_SHOWN_LOGGERS = ("mmsynth_tf", "datasets")
_X86 = ("x86_64", "AMD64")
_FULL_DISK = "The disk is full: {}. Free some space and run the same command again."
_NOT_PERMITTED = "Cannot read or write: {}. Choose another folder or change its permissions."
# Details in TensorFlow's messages that only its developers understand.
_NODE = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\]")


def refuse_arguments(argv: Sequence[str]) -> None:
    """Refuses arguments that are no flags.

    Raises:
      app.UsageError: there are such arguments.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}.")


def run(main: Callable[[list[str]], None]) -> None:
    """Parses flags, calls `main` and exits.

    Errors that the user can correct become one line on stderr and exit status 1. Signals to stop become one line and
    the exit status that shells report for them.
    """

    prepare_tensorflow()

    def guarded(argv: list[str]) -> None:
        _show_own_messages()
        for number in STOP_SIGNALS:
            signal.signal(number, interrupt)
        try:
            main(argv)
        except app.UsageError:
            raise
        except Interrupted as stop:
            print(f"{stop} Run the same command again to continue.", file=sys.stderr)
            sys.exit(stop.exit_status)
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            logging.getLogger(__name__).debug("The error in full:", exc_info=True)
            sys.exit(f"Error: {message}")

    app.run(guarded)


def prepare_tensorflow() -> None:
    """Sets the environment variables that TensorFlow and Keras read when they are imported.

    The user's values for TensorFlow's messages and oneDNN are kept. Variables that choose another Keras, or shorten
    its training, are removed: they are meant for other projects, and these programs need TensorFlow's own Keras.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # It overrides keras.json, too.
    for name in _OTHER_KERAS:
        os.environ.pop(name, None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in _X86:
        # TensorFlow's default is oneDNN's convolutions only on CPUs with AVX-512 VNNI. They are also faster on other
        # CPUs (docs/performance.md).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def limit_threads(count: int | None) -> None:
    """Limits the CPU threads of TensorFlow and NumPy, which must not be imported yet; None changes nothing."""
    if count is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(count)))


def _show_own_messages() -> None:
    """Shows all messages of this package and of the builds in `datasets/`, but only errors of TensorFlow and TFDS."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in _SHOWN_LOGGERS:
        own = logging.getLogger(name)
        own.addHandler(handler)
        own.setLevel(logging.INFO)
        own.propagate = False


def explain(error: Exception) -> str | None:
    """One line for an error that the user can correct; None for other errors, which need their traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _FULL_DISK.format(text)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return _NOT_PERMITTED.format(text)
        return text
    if type(error).__module__.startswith("tensorflow"):
        text = _NODE.sub("", text)
        if "No space left" in text:
            return _FULL_DISK.format(text)
        if "Permission denied" in text or "Read-only file system" in text:
            return _NOT_PERMITTED.format(text)
        if type(error).__name__ == "DataLossError":
            return f"A file is damaged: {text}. Build the data set again."
    return None
