"""Prints what commit 142d6ee gives where tests of today assert the right value, as rows of a table.

git worktree add /tmp/old 142d6ee
cd /tmp/old && PYTHONPATH=. python <path of this file> [item ...]
"""

import logging
import sys
import tempfile
import traceback
from pathlib import Path

import of_files  # noqa: F401 (fills the table)
import of_method  # noqa: F401
from registry import PROBES


def main() -> None:
    logging.disable(logging.WARNING)
    print("| item | probe | 142d6ee gives |\n|---|---|---|")
    for item in sys.argv[1:] or PROBES:
        for function in PROBES[item]:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    text = function(Path(folder)).replace(folder, "…")
                except Exception as error:  # What the old code raises is its answer.
                    text = f"error: {error!r}"
                    traceback.print_exc()
            text = " ".join(text.split()).replace("|", "\\|")
            print(f"| {item} | {function.__name__.replace('_', ' ')} | {text} |", flush=True)


if __name__ == "__main__":
    main()
