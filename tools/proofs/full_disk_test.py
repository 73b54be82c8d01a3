"""Fills the disk under a build, a training and an evaluation, makes it read-only, and takes it away.

    python -m tools.proofs.full_disk_test --output=full_disk_test.json

Each has to end with one clear line and exit status 1, to spoil nothing that was there, and to succeed once there is
space. The disk is a small tmpfs in a mount namespace of its own (`unshare`, with or without root), so that nothing
stays mounted. Exit status 1 if anything else happens.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mmsynth_tf import program as mmsynth_tf_program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from tools.proofs import tiny

_OUTPUT = path_flags.define_path("output", None, "JSON file for the records.", required=True)
_DISK = path_flags.define_path("disk", None, "Empty mount point of a small file system; if not given, one is mounted.")

_MEGABYTES, _SPARE_BYTES = 16, 8_192
_STEPS, _INTERVAL = 200, 5
_FULL, _READ_ONLY, _ABSENT = "The disk is full", "Read-only file system", "holds no whole data set"


class Trial:
    """Runs programs on a small disk, and records unexpected results.

    Args:
      scratch: folder on a large disk.
      disk: mount point of the small one.

    Attributes:
      rows: records of all trials.
    """

    def __init__(self, scratch: Path, disk: Path):
        self.rows: list[dict[str, str]] = []
        self._scratch, self._ballast = scratch, disk / "ballast"

    def fill(self) -> None:
        """Leaves next to nothing of the disk."""
        with open(self._ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(2**16)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - _SPARE_BYTES))

    def make_space(self) -> None:
        self._ballast.unlink()

    def expect_error(self, name: str, command: list[str], message: str, while_running=lambda: None) -> None:
        """The command ends with status 1 and one line that holds the message."""
        log = self._scratch / f"{len(self.rows)}.txt"
        process = tiny.start(command, log)
        while_running()
        status, text = process.wait(), log.read_text(encoding="utf-8")
        errors = [line for line in text.splitlines() if line.startswith("Error: ")]
        clear = status == 1 and len(errors) == 1 and message in errors[0] and "Traceback" not in text
        self.note(name, clear, errors[0] if clear else f"status {status}: {text[-1500:]}")

    def expect_success(self, name: str, command: list[str]) -> None:
        log = self._scratch / f"{len(self.rows)}.txt"
        status = tiny.start(command, log).wait()
        self.note(name, status == 0, "" if status == 0 else log.read_text(encoding="utf-8")[-1500:])

    def note(self, name: str, good: bool, text: str = "") -> None:
        self.rows.append({"trial": name, "good": good, "what happened": text})
        print("ok  " if good else "BAD ", name, "-", text, flush=True)


def main(argv: list[str]) -> None:
    mmsynth_tf_program.refuse_arguments(argv)
    if not _DISK.value:
        sys.exit(_in_own_namespace(argv))
    from mmsynth_tf.storage import records
    from mmsynth_tf.training import checkpoints

    disk = Path(_DISK.value)
    with tempfile.TemporaryDirectory() as scratch:
        trial, settings = Trial(Path(scratch), disk), tiny.config_flags(**tiny.lengths(_STEPS, _INTERVAL))
        tiny.write_cases(Path(scratch) / "cases", 10)
        build = ["datasets/build.py", "--source=cases", f"--input={scratch}/cases", *settings]
        train = ["train.py", *settings, f"--data_dir={disk}/data", f"--workdir={disk}/models"]
        evaluate = ["evaluate.py", "--experiment=segmentation", f"--workdir={disk}/models", f"--test_data={disk}/data"]

        trial.fill()
        trial.expect_error("build, full disk", [*build, f"--output={disk}/data"], _FULL)
        trial.note("build left nothing", [path.name for path in disk.iterdir()] == ["ballast"])
        trial.make_space()
        trial.expect_success("build, space again", [*build, f"--output={disk}/data"])

        def fill_after_checkpoint() -> None:
            while not checkpoints.paths(disk / "models" / "structure"):
                time.sleep(0.05)
            trial.fill()

        trial.expect_error("training, full disk", [*train, "--stage=structure"], _FULL, fill_after_checkpoint)
        kept = checkpoints.newest(disk / "models" / "structure")
        trial.note("checkpoint is whole", kept is not None, str(kept))
        trial.make_space()
        trial.expect_success("training, space again", [*train, "--stage=structure"])

        trial.expect_success("training of segmenters", [*train, "--stage=segmentation"])
        trial.fill()
        trial.expect_error("evaluation, full disk", evaluate, _FULL)
        trial.make_space()
        trial.expect_success("evaluation, space again", evaluate)

        if subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False).returncode == 0:
            trial.expect_error("build, read-only disk", [*build, f"--output={disk}/other"], _READ_ONLY)
            elsewhere = f"--workdir={disk}/other"
            trial.expect_error("training, read-only disk", [*train, "--stage=structure", elsewhere], _READ_ONLY)
        missing = f"--data_dir={disk}/not_mounted/data"
        trial.expect_error("training, disk absent", [*train, "--stage=structure", missing], _ABSENT)
    records.write_json(_OUTPUT.value, trial.rows)
    if not all(row["good"] for row in trial.rows):
        raise UserError("Some checks failed; see above.")


def _in_own_namespace(argv: list[str]) -> int:
    """Runs this program again, on a tmpfs that is gone when it ends."""
    with tempfile.TemporaryDirectory() as disk:
        mount = f"mount -t tmpfs -o size={_MEGABYTES}m tmpfs {disk}"
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        program = f'{mount} && exec "$0" -m tools.proofs.full_disk_test --disk={disk} --output="$1"'
        command = ["unshare", "--mount", *user, "sh", "-c", program, sys.executable, _OUTPUT.value]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    mmsynth_tf_program.run(main)
