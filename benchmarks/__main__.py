"""Runs the benchmarks and writes their records (JSON) and tables (Markdown).

    python -m benchmarks --output=bench_output
    python -m benchmarks --output=start --only=start
    python -m benchmarks --output=operations --only=operations --preset=paper

Each figure is a ratio within one run, of medians over interleaved rounds; times
and rates beside it tell how it came about, and change with the machine.
"""

import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags, tree

if TYPE_CHECKING:
    from mmsynth_tf.configs import Config
    from mmsynth_tf.storage.records import Record

_BENCHMARKS = ("steps", "growth", "waiting", "generation", "torch_unet")
# On demand, for the others take ten minutes by themselves. The first three compare nothing; modes are for GPUs.
_ON_DEMAND = ("start", "operations", "memory", "modes")

_OUTPUT = path_flags.define_path("output", "bench_output", "Folder for records and tables.")
_ONLY = flags.DEFINE_multi_enum("only", _BENCHMARKS, _BENCHMARKS + _ON_DEMAND, "Benchmarks to run.")
_PRESET = flags.DEFINE_enum("preset", "cpu", ("cpu", "demo", "workstation", "default", "paper"), "Preset of the sizes.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of each comparison.", lower_bound=1)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    import tensorflow as tf

    from benchmarks import table
    from mmsynth_tf import configs
    from mmsynth_tf.storage import atomic, records

    config, output, sections = configs.preset(_PRESET.value), Path(_OUTPUT.value), {}
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), TensorFlow {tf.__version__}, preset {_PRESET.value}"
    for name in dict.fromkeys(_ONLY.value):
        began, sections[name] = time.monotonic(), []
        for record in _records(name, config):
            sections[name].append(record)
            # Written at once, so that results survive if later benchmarks are stopped.
            records.write_json(output / f"{name}.json", sections[name])
            atomic.write_text(output / "benchmarks.md", table.page(sections, machine))
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print((output / "benchmarks.md").read_text(encoding="utf-8"))


def _records(name: str, config: "Config") -> Iterable["Record"]:
    """What one benchmark measures."""
    from benchmarks import generation, growth, memory, modes, operations, start, steps, torch_unet, waiting
    from mmsynth_tf import configs

    rounds, larger = _ROUNDS.value, {name: configs.preset(name) for name in ("default", "paper")}
    unet = tree.override(config, {"data.image_size": (96, 96), "segmentation.batch_size": 8})
    benchmarks: dict[str, Callable[[], Iterable[Record]]] = {
        "start": start.run,
        "steps": lambda: steps.run(config, rounds),
        "growth": lambda: growth.run(config, rounds),
        "waiting": lambda: waiting.run(config, larger, rounds),
        "generation": lambda: generation.run(config, samples=2 * config.generation.batch_size, rounds=3),
        "torch_unet": lambda: torch_unet.run(unet, rounds),
        "operations": lambda: operations.run(config),
        "memory": lambda: memory.run(_PRESET.value),
        "modes": lambda: modes.run(config, rounds),
    }
    return benchmarks[name]()


if __name__ == "__main__":
    program.run(main)
