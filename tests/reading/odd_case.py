"""One way for a case to be odd, and what the readers do with it."""

import dataclasses
import enum
import re
from collections.abc import Callable
from pathlib import Path


class Outcome(enum.Enum):
    """What happens to an odd case."""

    READ = "read like the valid case"
    WARNED = "read, with a warning"
    REFUSED = "refused"
    UNNOTICED = "not noticed"


@dataclasses.dataclass(frozen=True)
class Odd:
    """One way for a case to be odd."""

    name: str
    outcome: Outcome
    mutate: Callable[[Path], None]  # Changes a folder that holds the valid case `a` in the layout of BraTS 2018.
    says: str = ""  # What is said, with … for what depends on the case or on the libraries.
    same: bool = True  # Whether the slices are those of the valid case, where they are read.
    not_as_root: bool = False

    def is_said_by(self, message: str) -> bool:
        return re.search(".*".join(map(re.escape, self.says.split("…"))), message) is not None
