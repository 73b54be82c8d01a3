"""Trains on two "machines", two processes on this one, and compares what they leave with a training on one.

    python -m tools.proofs.worker_test --output=worker_test.json

Data and networks are tiny; the programs are the real ones. Every stage is trained to the end, and again from its first
checkpoint. Exit status 1 if weights differ by more than rounding, or a process other than the chief left files.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from absl import flags

from mmsynth_tf import program as mmsynth_tf_program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from tools.proofs import tiny

_OUTPUT = path_flags.define_path("output", None, "JSON file for the records.", required=True)
_STAGES = flags.DEFINE_multi_enum("stage", tiny.STAGES, tiny.STAGES, "Which stages.")

_STEPS, _INTERVAL = 4, 2
# Adam blows rounding errors up; other batches or gradients would make a difference of about 1.
_TOLERANCE = 0.02


def main(argv: list[str]) -> None:
    mmsynth_tf_program.refuse_arguments(argv)
    from mmsynth_tf.reports import report
    from mmsynth_tf.storage import records

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiny.write_cases(folder / "cases", 6)
        settings = tiny.config_flags(**tiny.lengths(_STEPS, _INTERVAL))
        _run(
            [
                [
                    "datasets/build.py",
                    "--source=cases",
                    f"--input={folder / 'cases'}",
                    f"--output={folder / 'data'}",
                    *settings,
                ]
            ]
        )
        rows = [_compare(stage, folder, settings) for stage in _STAGES.value]
    records.write_json(_OUTPUT.value, rows)
    print(report.Table(list(rows[0]), [[str(v) for v in row.values()] for row in rows], "Two processes").markdown())
    if any(row["difference"] > _TOLERANCE or row["files"] != "the same" for row in rows):
        raise UserError("Training in two processes differs from training in one; see the table.")


def _compare(stage: str, folder: Path, settings: list[str]) -> dict[str, str | float]:
    train = ["train.py", f"--stage={stage}", f"--data_dir={folder / 'data'}", *settings]
    one, two = folder / "one", folder / "two"
    _run([[*train, f"--workdir={one}"]])
    _run([[*train, f"--workdir={two}"]] * 2)
    trained = _weights(two / stage, _STEPS)
    _forget_the_end(two / stage)
    _run([[*train, f"--workdir={two}"]] * 2)
    expected, start = _weights(one / stage, _STEPS), _weights(one / stage, _INTERVAL)
    moved = _distance(expected, start)
    return {
        "stage": stage,
        "difference": _distance(trained, expected) / moved,
        "after resuming": _distance(_weights(two / stage, _STEPS), trained) / moved,
        "files": "the same" if _names(one / stage) == _names(two / stage) else "others",
    }


def _run(programs: list[list[str]]) -> None:
    """Runs programs side by side; several as the workers of one cluster.

    Raises:
      UserError: one failed; its output is printed.
    """
    addresses = [f"localhost:{_free_port()}" for _ in programs]
    with tempfile.TemporaryDirectory() as logs:
        started = []
        for index, program in enumerate(programs):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {"TF_CONFIG": json.dumps(task)} if len(programs) > 1 else {}
            started.append(tiny.start(program, Path(logs) / str(index), **environment))
        try:
            statuses = [process.wait(timeout=900) for process in started]
        except subprocess.TimeoutExpired:
            statuses = ["too long"]
        finally:
            for process in started:
                process.kill()
        if any(statuses):
            print(*(path.read_text() for path in sorted(Path(logs).iterdir())), sep="\n")
            raise UserError(f"{programs[0][0]} failed: {statuses}.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _weights(run: Path, step: int) -> dict:
    """All floats of a checkpoint, weights, averages and optimizers' slots, by name, but for the sums of the log."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run / "checkpoints" / f"ckpt-{step}"))
    types = reader.get_variable_to_dtype_map()
    return {n: reader.get_tensor(n) for n in types if types[n].is_floating and not n.startswith("sums")}


def _distance(a: dict, b: dict) -> float:
    return float(sum(((a[name] - b[name]) ** 2).sum() for name in b) ** 0.5)


def _forget_the_end(run: Path) -> None:
    for path in (run / "checkpoints").glob(f"ckpt-{_STEPS}.*"):
        path.unlink()
    shutil.rmtree(run / "previews")


def _names(run: Path) -> set[str]:
    """Files of a run; those of TensorBoard have names of their own."""
    paths = [path for path in run.rglob("*") if path.parent.name != "tensorboard"]
    return {os.fspath(path.relative_to(run)) for path in paths} - {"previews/0000002.png"}


if __name__ == "__main__":
    mmsynth_tf_program.run(main)
