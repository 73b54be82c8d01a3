"""Runs the commands of the documents, page by page, in a fresh clone.

    python -m tools.run_documented_commands --list
    python -m tools.run_documented_commands --folder=/tmp/documents --leave_out=proofs
    python -m tools.run_documented_commands --folder=/tmp/documents --stand_ins --leave_out=make,proofs,studies/

Pages come in the order in which README.md links them, and commands in the order of their page. A command runs if all
files that it reads are there; without real data only few do. A block below `<!-- not run: why -->` never runs.
--stand_ins puts phantom patients into the folders that stand for real data. It makes networks tiny and trainings short,
so results mean nothing: this only tests whether the commands work together.

The exit status is 1 if a command fails. <folder>/commands.json holds the seconds and the output of each.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags
from tools.proofs import tiny

REPOSITORY = Path(__file__).resolve().parents[1]
_FOLDER = path_flags.define_path("folder", None, "New folder for the clone, in which the commands run.")
_PYTHON = path_flags.define_path("python", sys.executable, "Python of an environment with all dependencies.")
_LIST = flags.DEFINE_bool("list", False, "Only list the commands, and why some do not run.")
_LEAVE_OUT = flags.DEFINE_list("leave_out", [], "Skip commands that contain one of these texts.")
_PAGES = flags.DEFINE_list("pages", [], "Pages to run; all if not given.")
_STAND_INS = flags.DEFINE_bool(
    "stand_ins", False, "Use simulated patients instead of real ones, and few training steps."
)
_MOST_SECONDS = flags.DEFINE_integer("most_seconds", 3600, "Time after which a command is stopped.", lower_bound=1)

_LINK = re.compile(r"\]\((docs/[\w/]+\.md)")
_BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]*?) -->\n)?^```sh\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
# Flags that name what a command reads. Training writes its work directory, all others read it.
_READ = re.compile(
    r"--(?:input|data|data_dir|labels_from|test_data|train_data|synthetic_data|models|label|lesions_from)=(\S+)"
)
_WORKDIR = re.compile(r"--workdir=(\S+)")
_OUTPUT = re.compile(r"--output=(\S+)")
_GIVEN_FOLDER = re.compile(r"\.sh (\S+/)")
_SHORT_FLAGS = (
    "--preset=demo",
    "--config.data.slices=50,105,8",
    "--config.data.validation_fraction=0.1",
    *tiny.network_flags(**tiny.lengths(4, 4), synthesis__pretraining_steps=2),
)


@dataclasses.dataclass
class Command:
    """A command of a page, and how it ended.

    Attributes:
      page: path of the page in the repository.
      text: the command as it stands there.
      reason: why it does not run; empty if it does.
      seconds: how long it ran.
      exit_status: None if it did not run.
      output: the end of what it printed.
    """

    page: str
    text: str
    reason: str = ""
    seconds: float = 0.0
    exit_status: int | None = None
    output: str = ""

    @property
    def bare(self) -> str:
        """The text without comment and indentation."""
        return " ".join(re.sub(r"\s#.*", "", self.text).split())

    def __str__(self) -> str:
        state = f"not run ({self.reason})"
        if self.exit_status is not None:
            state = f"{'ok' if self.exit_status == 0 else 'FAILED'} {self.seconds:.0f} s"
        return f"{state:>14}  {self.page}: {self.bare}"


def pages(repository: Path) -> list[str]:
    """README.md, the pages that it links in their order, and the others."""
    linked = _LINK.findall((repository / "README.md").read_text(encoding="utf-8"))
    others = sorted(path.relative_to(repository).as_posix() for path in (repository / "docs").rglob("*.md"))
    return list(dict.fromkeys(["README.md", *linked, *others]))


def commands(repository: Path, page: str) -> Iterator[Command]:
    """The commands in the blocks of shell code of a page; a loop is one command."""
    for block in _BLOCK.finditer((repository / page).read_text(encoding="utf-8")):
        lines = block["lines"].replace("\\\n", "\\\0").splitlines()
        while lines:
            command = [lines.pop(0)]
            while command[0].startswith("for ") and command[-1] != "done":
                command.append(lines.pop(0))
            text = "\n".join(command).replace("\\\0", "\\\n")
            if text.strip() and not text.startswith("#"):
                yield Command(page, text, reason=block["why"] or "")


def missing(text: str, folder: Path) -> list[str]:
    """What a command reads and the folder lacks."""
    read = [path for paths in _READ.findall(text) for path in paths.split(",")]
    read += _GIVEN_FOLDER.findall(text)
    if "train.py" not in text:
        read += _WORKDIR.findall(text)
    return [path for path in dict.fromkeys(read) if not (folder / path).exists()]


def shortened(text: str, short_flags: str) -> str:
    """The command with few steps and samples."""
    if "train.py" in text or "datasets/build.py" in text:
        text = re.sub(r"--preset=\w+", f"--flagfile={short_flags}", text)
    if re.search(r"--experiment=(segmentation_gain|curve|usability|fidelity|translation)", text):
        text = text.replace("evaluate.py", "evaluate.py --steps=4")
    if "--experiment=usability" in text and "--rows=" not in text:
        text = text.replace("--experiment=usability", "--experiment=usability --rows=real_1")
    for flag, value in {"seeds": "0", "count": "120", "num_cases": "4"}.items():
        text = re.sub(rf"--{flag}=\S+", f"--{flag}={value}", text)
    return text


def write_stand_ins(folder: Path) -> None:
    """Simulated patients in the folders that the documents name."""
    from datasets import phantom

    for seed, (name, count) in enumerate({"BraTS2018": 8, "others": 2, "scans": 2}.items()):
        phantom.write_cases(folder / name, count, seed=seed)
    # Other patients need other names.
    for path in sorted((folder / "others").rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.replace("phantom", "other")))
    case = sorted((folder / "scans").iterdir())[0]
    (folder / "labels").mkdir()
    os.link(next(case.glob("*_seg.nii.gz")), folder / "labels" / "tumour_seg.nii.gz")
    os.link(next(case.glob("*_t1.nii.gz")), folder / "scan.nii.gz")
    for path in (folder / "scans").glob("*/*_t2.nii.gz"):
        path.unlink()  # `mmsynth translate` makes what a case lacks, and refuses cases that lack nothing.
    (folder / "short.flags").write_text("\n".join(_SHORT_FLAGS), encoding="utf-8")


def remove(path: Path, folder: Path) -> None:
    """Removes an earlier output, if it lies in the folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is not in {folder}.")
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def run(command: Command, folder: Path, ran: set[str]) -> None:
    """Runs a command in the folder unless something keeps it from it."""
    lacking = missing(command.text, folder)
    left_out = [text for text in _LEAVE_OUT.value if text in command.text]
    if lacking:
        command.reason = command.reason or f"needs {', '.join(lacking)}"
    elif left_out:
        command.reason = command.reason or f"left out: {', '.join(left_out)}"
    elif command.bare in ran:
        command.reason = command.reason or "ran before"
    if command.reason:
        return
    ran.add(command.bare)
    text = shortened(command.text, "short.flags") if _STAND_INS.value else command.text
    for path in _OUTPUT.findall(text):
        remove(folder / path, folder)  # Pages name the same folders for different sets.
    binaries = Path(_PYTHON.value).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHON": _PYTHON.value,
        "PYTHONPATH": str(folder),
    }
    began = time.perf_counter()
    result = subprocess.run(
        ["timeout", str(_MOST_SECONDS.value), "bash", "-ec", text],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    command.seconds, command.exit_status = time.perf_counter() - began, result.returncode
    command.output = result.stdout[-4000:]


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    asked = _PAGES.value or pages(REPOSITORY)
    found = [command for page in asked for command in commands(REPOSITORY, page)]
    if _LIST.value:
        for command in found:
            lacking = missing(command.text, REPOSITORY)
            print(command.reason or (f"needs {', '.join(lacking)}" if lacking else "runs"), command.page, command.text)
        return
    folder = Path(_FOLDER.value)
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    if _STAND_INS.value:
        write_stand_ins(folder)
    ran: set[str] = set()
    for command in found:
        run(command, folder, ran)
        print(command, flush=True)
        if command.exit_status:
            print(command.output)
        (folder / "commands.json").write_text(json.dumps([dataclasses.asdict(c) for c in found], indent=1))
    sys.exit(1 if any(command.exit_status for command in found) else 0)


if __name__ == "__main__":
    program.run(main)
