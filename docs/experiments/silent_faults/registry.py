"""The probes, by item of docs/experiments/silent_faults.md."""

from collections.abc import Callable
from pathlib import Path

Probe = Callable[[Path], str]
PROBES: dict[str, list[Probe]] = {}


def probe(item: str) -> Callable[[Probe], Probe]:
    def register(function: Probe) -> Probe:
        PROBES.setdefault(item, []).append(function)
        return function

    return register
