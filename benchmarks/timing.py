"""Times things against each other."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Calls all functions in turn in every round, so that what slows the machine for a while slows them all.

    Args:
      functions: by name; each returns when its work is done.
      rounds: how often, after one call each that is not timed.

    Returns:
      Median seconds of each.
    """
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}
