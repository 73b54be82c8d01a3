"""What the command-line programs share: one clear line for errors that the user can mend. No TensorFlow here."""

import errno
import logging
import sys
from collections.abc import Callable, Sequence

import absl.logging
from absl import app


class UserError(ValueError):
    """Something that the user can mend; the message names it and says how."""


def refuse_arguments(argv: Sequence[str]) -> None:
    """Refuses what is left after flags were parsed.

    Raises:
      app.UsageError: there are arguments that are no flags.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}.")


def run(main: Callable[[list[str]], None]) -> None:
    """Parses flags, calls `main` and exits; mendable errors become one line on stderr and exit status 1."""

    def guarded(argv: list[str]) -> None:
        _show_own_messages()
        try:
            main(argv)
        except app.UsageError:
            raise
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            logging.getLogger(__name__).debug("The error in full:", exc_info=True)
            sys.exit(f"Error: {message}")

    app.run(guarded)


def _show_own_messages() -> None:
    """Shows what this package reports, and of TensorFlow and its data sets only errors."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    own = logging.getLogger("mmsynth_tf")
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
        if "No space left" in text:
            return f"The disk is full: {text}. Free some space and run the same command again."
        if "Permission denied" in text or "Read-only file system" in text:
            return f"Cannot write: {text}. Choose another folder or change its permissions."
        if type(error).__name__ == "DataLossError":
            return f"A file is damaged: {text}. Build the data set again."
    return None
