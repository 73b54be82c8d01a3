"""Kills trainings and builds at random moments, goes on with them, and compares what they leave with undisturbed ones.

    python -m tools.proofs.kill_test --output=kill_test.json

Data, networks and runs are tiny; the programs are the real ones and the signal is SIGKILL. Exit status 1 if anything
differs: weights, optimizers' slots, averages, logs, previews, TensorBoard's events, examples of data sets, or files
that lie about.
"""

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from tools.proofs import tiny

_OUTPUT = path_flags.define_path("output", None, "JSON file for the records.", required=True)
_KILLS = flags.DEFINE_integer("kills", 20, "Number of kills.", lower_bound=3)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments of the kills.")

_CASES, _SAMPLES, _STEPS, _INTERVAL = 30, 300, 120, 5
_POLL = 0.02  # Seconds between looks at a process.
_NOTHING = "nothing"


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that can be killed.

    Attributes:
      name: of its row.
      command: given the folder to work in.
      result: what it leaves in that folder.
      contents: the parts of a result that have to be equal, by name.
      seconds: until it begins to write, and until its end.
    """

    name: str
    command: Callable[[Path], list[str]]
    result: str
    contents: Callable[[Path], dict[str, object]]
    seconds: tuple[float, float] = (0.0, 0.0)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    import numpy as np

    from mmsynth_tf.reports import report
    from mmsynth_tf.storage import records as storage_records

    rng, rows = np.random.default_rng(_SEED.value), []
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed, disturbed = Path(scratch) / "undisturbed", Path(scratch) / "disturbed"
        tiny.write_cases(Path(scratch) / "cases", _CASES)
        undisturbed.mkdir()
        data_set, training, synthetic = _jobs(Path(scratch) / "cases", undisturbed)
        jobs = [_timed(data_set, undisturbed), _timed(training, undisturbed)]
        _train_synthesis(undisturbed)
        jobs.append(_timed(synthetic, undisturbed))
        for number, job in enumerate(jobs):
            kills = len(range(number, _KILLS.value, len(jobs)))
            early, late = _kill_and_finish(job, disturbed / job.name, kills, rng)
            differing = _differences(job, disturbed / job.name, undisturbed)
            rows.append(
                {
                    "job": job.name,
                    "kills at the start": early,
                    "kills at work": late,
                    "differing": ", ".join(differing) or _NOTHING,
                }
            )
    storage_records.write_json(_OUTPUT.value, rows)
    body = [[str(value) for value in row.values()] for row in rows]
    print(report.Table(list(rows[0]), body, "SIGKILL at random moments").markdown())
    if any(row["differing"] != _NOTHING for row in rows):
        raise UserError("Results of killed runs differ from those of undisturbed runs; see the table.")


def _jobs(cases: Path, undisturbed: Path) -> list[Job]:
    """In this order each finds its inputs in the results of those before it."""
    settings = tiny.config_flags(**tiny.lengths(_STEPS, _INTERVAL))
    data, models, build = undisturbed / "data", undisturbed / "models", "datasets/build.py"
    train = ["train.py", f"--data_dir={data}", *settings]
    cases_build = [build, "--source=cases", f"--input={cases}", *settings]
    synthetic = [build, "--source=synthetic", f"--workdir={models}", f"--labels_from={data}", *settings]
    return [
        Job("data set", lambda f: [*cases_build, f"--output={f / 'data'}"], "data", _data_set_contents),
        Job(
            "training",
            lambda f: [*train, "--stage=structure", f"--workdir={f / 'models'}"],
            "models/structure",
            _run_contents,
        ),
        Job(
            "synthetic data set",
            lambda f: [*synthetic, f"--count={_SAMPLES}", f"--output={f / 'synthetic'}"],
            "synthetic",
            _data_set_contents,
        ),
    ]


def _train_synthesis(undisturbed: Path) -> None:
    """What the synthetic data set needs besides the structure stage; a few steps of it do."""
    settings = tiny.config_flags(**tiny.lengths(steps=2, interval=2))
    paths = [f"--data_dir={undisturbed / 'data'}", f"--workdir={undisturbed / 'models'}"]
    log = undisturbed / "log.txt"
    for stage in ("segmentation", "synthesis"):
        _require_success(tiny.start(["train.py", f"--stage={stage}", *paths, *settings], log).wait(), log)


def _timed(job: Job, folder: Path) -> Job:
    """Runs a job undisturbed."""
    began, before = time.monotonic(), _files(folder)
    process, first_write = tiny.start(job.command(folder), folder / "log.txt"), None
    while process.poll() is None:
        if first_write is None and _files(folder) != before:
            first_write = time.monotonic() - began
        time.sleep(_POLL)
    _require_success(process.returncode, folder / "log.txt")
    end = time.monotonic() - began
    return dataclasses.replace(job, seconds=(first_write or end, end))


def _kill_and_finish(job: Job, folder: Path, kills: int, rng) -> tuple[int, int]:
    """Gives a command again and again until it was killed often enough, then until it is done.

    Returns:
      Kills before and after its first write.
    """
    folder.mkdir(parents=True)
    early = late = 0
    while early + late < kills:
        if _is_done(job, folder):
            shutil.rmtree(folder)
            folder.mkdir()
        first_write, end = job.seconds
        at_start = rng.uniform() < 0.2
        wait = rng.uniform(0.0, first_write if at_start else end - first_write)
        process, before = tiny.start(job.command(folder), folder / "log.txt"), _files(folder)
        while not at_start and process.poll() is None and _files(folder) == before:
            time.sleep(_POLL)
        time.sleep(wait)
        if process.poll() is None:
            process.kill()
            early, late = early + at_start, late + (not at_start)
        process.wait()
    # One that was killed while it said goodbye has nothing left to do.
    if not _is_done(job, folder):
        _require_success(tiny.start(job.command(folder), folder / "log.txt").wait(), folder / "log.txt")
    return early, late


def _is_done(job: Job, folder: Path) -> bool:
    if job.contents is _data_set_contents:
        return (folder / job.result / "data_set.json").is_file()
    return (folder / job.result / "checkpoints" / f"ckpt-{_STEPS}.index").is_file()


def _require_success(status: int, log: Path) -> None:
    if status:
        raise UserError(f"A command ended with status {status}: {log.read_text(encoding='utf-8')[-2000:]}")


def _files(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.name != "log.txt"}


def _differences(job: Job, folder: Path, undisturbed: Path) -> list[str]:
    """Names of the parts that differ from those of the undisturbed run, and of files that lie about."""
    found, wanted = job.contents(folder / job.result), job.contents(undisturbed / job.result)
    differing = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    left = [path.name for path in folder.rglob(".*")] + [
        path.name for path in folder.iterdir() if path.name not in ("log.txt", Path(job.result).parts[0])
    ]
    return differing + left


def _data_set_contents(folder: Path) -> dict[str, object]:
    """All files but for the time in them; records as examples, whose fields protocol buffers write in any order."""
    record = json.loads((folder / "data_set.json").read_text(encoding="utf-8"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.name: _examples(path)
        if ".tfrecord" in path.name
        else path.read_bytes().replace(record["created"].encode(), b"")
        for path in files
    }


def _examples(path: Path) -> list[bytes]:
    import tensorflow as tf

    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [tf.train.Example.FromString(record).SerializeToString(deterministic=True) for record in records]


def _run_contents(folder: Path) -> dict[str, object]:
    import tensorflow as tf

    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in [folder / "losses.csv", *(folder / "previews").iterdir()]
    }
    reader = tf.train.load_checkpoint(str(folder / "checkpoints" / f"ckpt-{_STEPS}"))
    variables = {
        name: reader.get_tensor(name).tobytes()
        for name in reader.get_variable_to_shape_map()
        # Each process saves as often as it lives to.
        if name.endswith("VARIABLE_VALUE") and not name.startswith("save_counter")
    }
    names = {"checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir())}
    return files | variables | names | {"tensorboard": _events(folder / "tensorboard")}


def _events(folder: Path) -> list[tuple[int, str, bytes]]:
    import tensorflow as tf

    events = (event for file in folder.iterdir() for event in tf.compat.v1.train.summary_iterator(str(file)))
    return sorted((e.step, v.tag, v.tensor.SerializeToString()) for e in events for v in e.summary.value)


if __name__ == "__main__":
    program.run(main)
