"""What the command-line programs share: one clear line for errors that the user can mend. No TensorFlow here."""

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
_SHOWN_LOGGERS = ("mmsynth_tf", "datasets")
_X86 = ("x86_64", "AMD64")
# What TensorFlow puts around its messages and only its developers understand.
_NODE = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\]")


def refuse_arguments(argv: Sequence[str]) -> None:
    """Refuses what is left after flags were parsed.

    Raises:
      app.UsageError: there are arguments that are no flags.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}.")


def run(main: Callable[[list[str]], None]) -> None:
    """Parses flags, calls `main` and exits.

    Mendable errors become one line on stderr and exit status 1; signals to stop become one line and the status that
    shells give them.
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
            print(f"{stop} Give the same command again to go on.", file=sys.stderr)
            sys.exit(stop.exit_status)
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            logging.getLogger(__name__).debug("The error in full:", exc_info=True)
            sys.exit(f"Error: {message}")

    app.run(guarded)


def prepare_tensorflow() -> None:
    """Sets what TensorFlow and Keras read from the environment when they are imported.

    What the user has set counts for TensorFlow's messages and operations. Variables that choose another Keras, or cut
    its training short, are meant for other projects: these programs run on TensorFlow's own Keras alone.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # It overrides keras.json, too.
    for name in _OTHER_KERAS:
        os.environ.pop(name, None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in _X86:
        # By itself TensorFlow takes oneDNN's convolutions only where AVX-512 has instructions for neural networks;
        # elsewhere they are faster, too (docs/performance.md).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _show_own_messages() -> None:
    """Shows what this package and the builds in `datasets/` report, and of TensorFlow and TFDS only errors."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in _SHOWN_LOGGERS:
        own = logging.getLogger(name)
        own.addHandler(handler)
        own.setLevel(logging.INFO)
        own.propagate = False


def explain(error: Exception) -> str | None:
    """One line for an error that the user can mend; None for others, which deserve their traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full: {text}. Free some space and run the same command again."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return f"Cannot write: {text}. Choose another folder or change its permissions."
        return text
    if type(error).__module__.startswith("tensorflow"):
        text = _NODE.sub("", text)
        if "No space left" in text:
            return f"The disk is full: {text}. Free some space and run the same command again."
        if "Permission denied" in text or "Read-only file system" in text:
            return f"Cannot write: {text}. Choose another folder or change its permissions."
        if type(error).__name__ == "DataLossError":
            return f"A file is damaged: {text}. Build the data set again."
    return None
