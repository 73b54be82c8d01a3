"""Errors that a user can correct, and the exception for signals to stop. Imports nothing of the package."""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class UserError(ValueError):
    """An error that the user can correct; the message names the cause and the next step."""


class WorkDirError(UserError):
    """A work directory lacks a file, or holds a run that does not fit."""


class Interrupted(KeyboardInterrupt):
    """The process received SIGINT or SIGTERM.

    Args:
      number: of the signal.
      state: progress of the work, appended to "Stopped by SIGTERM".
    """

    def __init__(self, number: int, state: str = ""):
        super().__init__(f"Stopped by {signal.Signals(number).name}{state}.")
        self.exit_status = 128 + number  # As shells report it.


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Handles a signal by raising `Interrupted`, so that unfinished files are removed."""
    raise Interrupted(number)
