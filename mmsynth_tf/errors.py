"""Errors that a user can mend, and how a program is told to stop. Imports nothing of the package."""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class UserError(ValueError):
    """Something that the user can mend; the message names it and says how."""


class WorkDirError(UserError):
    """A work directory does not hold what is needed, or holds something else."""


class Interrupted(KeyboardInterrupt):
    """The process was told to stop, by SIGINT or SIGTERM.

    Args:
      number: of the signal.
      state: where the work stands, to follow "Stopped by SIGTERM".
    """

    def __init__(self, number: int, state: str = ""):
        super().__init__(f"Stopped by {signal.Signals(number).name}{state}.")
        self.exit_status = 128 + number  # As shells report it.


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Handles a signal by raising `Interrupted`, so that what is half done is cleared away."""
    raise Interrupted(number)
