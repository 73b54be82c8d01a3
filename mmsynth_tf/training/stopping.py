"""Defers SIGINT and SIGTERM, so that a loop can stop at a safe point."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from mmsynth_tf.errors import STOP_SIGNALS, interrupt


class Deferral:
    """Keeps a signal until it is asked for. What is not `armed` has nothing to lose and stops at once.

    Attributes:
      armed: keep signals.
      requested: the signal that came, if any.
    """

    def __init__(self):
        self.armed = False
        self.requested: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        # Who asks twice does not want to wait.
        if self.requested or not self.armed:
            interrupt(number)
        self.requested = number


@contextlib.contextmanager
def deferred() -> Iterator[Deferral]:
    """Within it SIGINT and SIGTERM are kept; one that nobody asked for is raised at the end.

    Raises:
      Interrupted: as said.
    """
    deferral = Deferral()
    # Python allows handlers in the main thread only, where it also runs them.
    if threading.current_thread() is not threading.main_thread():
        yield deferral
        return
    before = {number: signal.signal(number, deferral.handle) for number in STOP_SIGNALS}
    try:
        yield deferral
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if deferral.requested:
        interrupt(deferral.requested)
