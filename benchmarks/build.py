"""How long a data set takes to build, beside merely reading and unpacking its files with all cores; and its memory.

python -m benchmarks.build --input=BraTS2018/ --preset=cpu
"""

import dataclasses
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import DataConfig, path_flags
from mmsynth_tf.configs import flags as configs_flags


def run(data: DataConfig, cases_dir: str | Path, rounds: int = 3, copies: tuple[int, ...] = (1, 4)) -> Iterator[dict]:
    """Measures builds of the cases in a folder, at any depth.

    Args:
      data: what to build.
      cases_dir: the folder.
      rounds: in each of which reading and building take turns; medians count.
      copies: how often each case is built where memory is read.
    """
    from mmsynth_tf.reading.releases import find_cases

    cases = find_cases(cases_dir, data.modalities)
    _read(cases)  # The first reading from the disk.
    _build(cases, data)  # What is done once in a process.
    times = [(*_seconds(_read, cases), *_seconds(_build, cases, data)) for _ in range(rounds)]
    read, read_cpu, build, build_cpu = (sorted(column)[rounds // 2] for column in zip(*times, strict=True))
    yield {
        "cases": len(cases),
        "read_seconds": read,
        "build_seconds": build,
        "ratio": build / read,
        # The ratio that does not depend on what else the machine is doing.
        "ratio_of_cpu_seconds": build_cpu / read_cpu,
    }
    for number in copies:
        yield {"cases": number * len(cases), "peak_mebibytes": _peak_mebibytes(cases, data, number)}


def _seconds(function: Callable, *arguments: Any) -> tuple[float, float]:
    """Seconds that a call takes, and seconds of all cores together."""
    began, cpu_began = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - began, time.process_time() - cpu_began


def _read(cases: Sequence) -> None:
    """Reads and unpacks every file that a build reads, once, with all cores, as nibabel does it."""
    import nibabel
    import numpy as np

    from mmsynth_tf.parallel import map_in_order

    paths = {volume.path for case in cases for volume in (*case.images.values(), case.label) if volume}
    for _ in map_in_order(lambda path: np.asarray(nibabel.load(path).dataobj).shape, sorted(paths)):
        pass


def _build(cases: Sequence, data: DataConfig) -> None:
    from datasets import cases as cases_builder

    with tempfile.TemporaryDirectory() as folder:
        cases_builder.build(cases, data, Path(folder), allow_incomplete=True, release="benchmark")


def _peak_mebibytes(cases: Sequence, data: DataConfig, copies: int) -> float:
    """Peak memory of a separate process that builds each case `copies` times, MiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_build_copies, (cases, data, copies))


def _build_copies(cases: Sequence, data: DataConfig, copies: int) -> float:
    renamed = [
        dataclasses.replace(case, case_id=f"{case.case_id}_{copy}", patient_id=f"{case.patient_id}_{copy}")
        for case in cases
        for copy in range(copies)
    ]
    _build(renamed, data)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    for record in run(configs_flags.config_from_flags().data, flags.FLAGS.input, flags.FLAGS.rounds):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    path_flags.define_path("input", None, "Folder that holds the cases, at any depth.", required=True)
    flags.DEFINE_integer("rounds", 3, "Rounds of reading and building.", lower_bound=1)
    configs_flags.define_config_flags()
    program.run(main)
