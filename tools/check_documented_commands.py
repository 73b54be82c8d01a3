"""Checks that every command of the documents exists: its program, its flags and the values that flags accept.

    python -m tools.check_documented_commands

Commands are the lines of the blocks marked `sh` in README.md and docs/. Each runs with its flags and `--helpfull`,
which ends it once the flags are read. Scripts, tests, make targets and programs without flags must exist; they are not
run: `tools.run_documented_commands` does that. The exit status is 1 if a command is wrong.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import run_documented_commands

REPOSITORY = Path(__file__).resolve().parents[1]
_SHELL_WORDS = ("for", "done", "export", "cd")
_STAGE = "$stage"
_OWN = ("python", "mmsynth")


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in a page's blocks of shell code, without programs that other projects install."""
    for command in run_documented_commands.commands(REPOSITORY, page):
        for line in command.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace(_STAGE, "structure"), comments=True)
            while words and re.match(r"\w+=", words[0]):  # variables of the command's environment
                del words[0]
            is_of_others = command.reason and words and words[0] not in _OWN
            if words and words[0] not in _SHELL_WORDS and not is_of_others:
                yield words


def problem(words: list[str]) -> str | None:
    """What is wrong with a command; None if nothing is."""
    program, *rest = words
    if program == "make":
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        missing = [
            target
            for target in rest
            if "=" not in target and not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
        ]
        return f"no target {missing}" if missing else None
    if program not in _OWN:
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
    for page in run_documented_commands.pages(REPOSITORY):
        for words in commands(page):
            found = problem(words)
            wrong += found is not None
            verdict = f"WRONG ({found})" if found else "ok"
            print(f"{verdict} {page}: {shlex.join(words)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
