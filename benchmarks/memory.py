"""Peak memory and seconds of a training step of each stage, each in a process of its own, on made-up slices.

    python -m benchmarks --output=memory --only=memory --preset=workstation

Memory is the process's largest resident set (Linux). `base_gib` is what it was before the model was built, mostly
TensorFlow itself. A step of the synthesis stage is one after its pretraining, which needs less. Processor seconds are
those of all threads; with one thread they say how long a step takes on an idle core, whatever else runs.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.storage.records import Record

# Steps before those that are timed, and timed ones. The first trace and fill caches.
_STEPS = 3
_CHILD = "import sys; from benchmarks import memory; memory.child(*sys.argv[1:])"


def run(preset: str, changes: Mapping[str, Any] | None = None, steps: int = _STEPS) -> Iterator[Record]:
    """A record for each stage of a preset.

    Args:
      preset: its name.
      changes: settings that differ from it, by path, such as smaller batches.
      steps: number of timed steps, and of warm ones before them.
    """
    config = tree.override(configs.preset(preset), changes or {})
    paper = config.segmentation.formulation == constants.PAPER
    for stage in constants.PAPER_STAGES if paper else constants.STAGES:
        yield of_stage(stage, preset, config, steps)


def of_stage(stage: str, preset: str, config: configs.Config, steps: int = _STEPS) -> Record:
    """Measures a stage in a process of its own.

    Raises:
      RuntimeError: the process failed, perhaps for want of memory.
    """
    command = [sys.executable, "-c", _CHILD, stage, tree.to_json(config), str(steps)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{stage} of {preset} failed ({result.returncode}): {result.stderr[-500:]}")
    described = {
        "preset": preset,
        "stage": stage,
        "side": config.data.height,
        "batch_size": getattr(config, stage).batch_size,
    }
    return described | json.loads(result.stdout.splitlines()[-1])


def child(stage: str, config_json: str, steps: str) -> None:
    """Trains some steps; prints seconds a step and memory, JSON."""
    import tensorflow as tf

    from benchmarks import stage_step

    config = tree.from_json(configs.Config, config_json)
    base = _peak()
    model, batch = stage_step.model(stage, config), stage_step.one_batch(stage, config)
    step = stage_step.Step(model, batch)
    for _ in range(int(steps)):
        step()
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(int(steps)):
        step()
    seconds, processor = (time.perf_counter() - began) / int(steps), (time.process_time() - processor) / int(steps)
    weights = sum(int(tf.size(variable)) for network in model.networks.values() for variable in network.weights)
    times = {"seconds_per_step": seconds, "processor_seconds_per_step": processor}
    print(json.dumps({**times, "peak_gib": _peak(), "base_gib": base, "million_weights": weights / 1e6}))


def _peak() -> float:
    """The process's largest resident set so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
