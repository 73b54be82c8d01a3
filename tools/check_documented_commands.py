"""Checks that every command of the documents exists: its program, its flags and the values that flags accept.

    python -m tools.check_documented_commands

Commands are the lines of the blocks marked `sh` in README.md and docs/. Each runs with its flags and `--helpfull`,
which ends it once the flags are read. Scripts, tests, make targets and programs without flags must exist; they are not
run. The exit status is 1 if a command is wrong.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL_WORDS = ("for", "done", "export", "cd")
_STAGE = "$stage"


def commands(document: Path) -> Iterator[list[str]]:
    """The words of each command in the document's blocks of shell code."""
    for block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace(_STAGE, "structure"), comments=True)
            if words and words[0] not in _SHELL_WORDS:
                yield words


def problem(words: list[str]) -> str | None:
    """What is wrong with a command; None if nothing is."""
    program, *rest = words
    if program == "make":
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        missing = [target for target in rest if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)]
        return f"no target {missing}" if missing else None
    if program not in ("python", "mmsynth"):
        return None if os.access(REPOSITORY / program, os.X_OK) else "no such program"
    if program == "mmsynth":
        rest = ["-m", "mmsynth_tf.cli.main", *rest]
    if "pytest" in rest:
        missing = [word for word in rest if word.startswith("tests/") and not (REPOSITORY / word).exists()]
        return f"no file {missing}" if missing else None
    if not any(word.startswith("--") for word in rest):  # Without flags to read it would do its work.
        path = rest[1].replace(".", "/") if rest[0] == "-m" else rest[0].removesuffix(".py")
        return None if (REPOSITORY / f"{path}.py").is_file() else "no such program"
    given = [word.removeprefix("--").partition("=")[0] for word in rest if word.startswith("--")]
    # Flags are read in order: a wrong value is refused before --helpfull ends the program.
    result = subprocess.run(
        [sys.executable, *rest, "--helpfull"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    defined = set(re.findall(r"^\s+(?:-\w,)?--(?:\[no\])?([\w.]+)[:\s]", result.stdout, re.MULTILINE))
    if not defined:
        return result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "says nothing"
    missing = sorted(set(given) - defined)
    return f"no flags {missing}" if missing else None


def main() -> int:
    wrong = 0
    for document in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        for words in commands(document):
            found = problem(words)
            wrong += found is not None
            verdict = f"WRONG ({found})" if found else "ok"
            print(f"{verdict} {document.name}: {shlex.join(words)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
