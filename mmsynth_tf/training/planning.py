"""Chooses the settings of a training from the data set and the device (`train.py --preset=auto`).

The method stays that of the presets: filters are those of `cpu` or of `default`, depth and codes follow from the size
of slices, the batch is halved until every stage fits into memory, and steps follow from the number of slices. No
TensorFlow here.
"""

import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import presets, tree
from mmsynth_tf.errors import WorkDirError
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import memory
from mmsynth_tf.training.memory import Device

AUTO = "auto"
FILE = "plan.json"
# Training slices of a full data set, for which the lengths of preset default are meant: 285 patients of BraTS 2018,
# 78 slices each, less a tenth for testing.
_FULL_SLICES = 20_000
# Share of the memory that a plan uses.
_USED = 0.8
# Memory of a GPU that does not say how much it has: that of the GPUs for which preset default is meant, GiB.
_UNKNOWN_GPU = 16.0
# Below it the moving average and the intervals of preset cpu fit the shorter training.
_SHORT_STEPS = 10_000
_SHORT = ("runtime.steps_per_checkpoint", "runtime.ema_decay")
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings that differ from the defaults, by path, and a sentence for each reason."""

    settings: dict[str, Any]
    reasons: list[str]

    @property
    def config(self) -> configs.Config:
        return tree.override(configs.Config(), self.settings)


def plan(data: configs.DataConfig, num_slices: int, device: Device) -> Plan:
    """Chooses the settings.

    Args:
      data: the data set's.
      num_slices: training slices.
      device: what trains.
    """
    available = device.memory_gib or (_UNKNOWN_GPU if device.gpu else math.inf)
    for name in ("default", "cpu") if device.gpu else ("cpu",):
        config = tree.override(configs.preset(name), presets.of_size(*data.image_size))
        config = _fitting(dataclasses.replace(config, data=data), available)
        if all(_fits(stage, config, available) for stage in constants.STAGES):
            break
    reasons = [
        f"Filters of preset {name} on the {'GPU' if device.gpu else 'CPU'}; depth and code for slices of {data.height}x"
        f"{data.width} pixels.",
        _why_batches(config, configs.preset(name), available),
    ]
    config, why = _as_long(config, num_slices, configs.preset(name), device.gpu)
    reasons.append(why)
    before = tree.fields(configs.Config())
    settings = {path: value for path, (value, _) in tree.fields(config).items() if value != before[path][0]}
    return Plan({path: value for path, value in settings.items() if not path.startswith("data.")}, reasons)


def planned(data: Sequence[prepared.PreparedData], workdir: str | Path, device: Device) -> configs.Config:
    """The settings for a work directory: those that were chosen there before, or else new ones, which are kept there.

    A resumed run must have the same settings, but what is free of the memory changes.

    Args:
      data: the data sets to train on.
      workdir: parent of the stages' folders.
      device: what trains.

    Raises:
      WorkDirError: the plan that is kept there cannot be read.
    """
    path = Path(workdir) / FILE
    if path.is_file():
        chosen = _read(path)
        _LOG.info("Settings of %s, chosen before:", path)
    else:
        chosen = plan(data[0].config, sum(d.num_slices("train") for d in data), device)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, json.dumps(dataclasses.asdict(chosen), indent=2))
        _LOG.info("Settings, kept in %s:", path)
    for reason in chosen.reasons:
        _LOG.info("  %s", reason)
    return chosen.config


def _fitting(config: configs.Config, available: float) -> configs.Config:
    """With each stage's batch halved until it fits; that of the synthesis stage stays a multiple of `full_every`."""
    for stage in constants.STAGES:
        least = config.synthesis.full_every if stage == constants.SYNTHESIS else 1
        while (size := getattr(config, stage).batch_size) > least and not _fits(stage, config, available):
            config = tree.override(config, {f"{stage}.batch_size": max(least, size // 2)})
    return config


def _fits(stage: str, config: configs.Config, available: float) -> bool:
    return memory.step_gib(stage, config) <= _USED * available


def _largest_need(config: configs.Config) -> tuple[str, float]:
    """The stage that needs most memory, and how much, GiB."""
    return max(((stage, memory.step_gib(stage, config)) for stage in constants.STAGES), key=lambda need: need[1])


def _why_batches(config: configs.Config, usual: configs.Config, available: float) -> str:
    sizes = {stage: getattr(config, stage).batch_size for stage in constants.STAGES}
    smaller = [stage for stage, size in sizes.items() if size < getattr(usual, stage).batch_size]
    stage, needed = _largest_need(config)
    text = ", ".join(f"{name} {size}" for name, size in sizes.items())
    why = f"smaller than the preset's for {', '.join(smaller)}" if smaller else "the preset's"
    there = "memory that is not known" if math.isinf(available) else f"{available:.1f} GiB"
    return f"Batches ({text}): {why}; {stage} needs most, about {needed:.1f} GiB of {there}."


def _as_long(config: configs.Config, num_slices: int, usual: configs.Config, gpu: bool) -> tuple[configs.Config, str]:
    """With as many steps as show as many slices as the preset would, on a GPU in proportion to the data set."""
    share = min(1.0, num_slices / _FULL_SLICES) if gpu else 1.0
    least, steps = configs.preset("cpu"), {}
    for stage in constants.STAGES:
        there, here = getattr(usual, stage), getattr(config, stage)
        shown = max(share * there.steps * there.batch_size, getattr(least, stage).steps * there.batch_size)
        steps[f"{stage}.steps"] = _rounded(shown / here.batch_size)
    pretraining = usual.synthesis.pretraining_steps / usual.synthesis.steps
    steps["synthesis.pretraining_steps"] = _rounded(pretraining * steps["synthesis.steps"])
    if min(steps[f"{stage}.steps"] for stage in constants.STAGES) < _SHORT_STEPS:
        short = tree.fields(least)
        steps |= {path: short[path][0] for path in _SHORT}
    lengths = ", ".join(f"{stage} {steps[f'{stage}.steps']:,}" for stage in constants.STAGES)
    why = (
        f"{share:.0%} of preset default's slices, for {num_slices:,} training slices" if gpu else "those of preset cpu"
    )
    return tree.override(config, steps), f"Steps ({lengths}): {why}."


def _rounded(steps: float) -> int:
    """Steps in hundreds."""
    return max(100, 100 * round(steps / 100))


def _read(path: Path) -> Plan:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        chosen = Plan(found["settings"], found["reasons"])
        chosen.config  # noqa: B018  Unknown settings are refused here.
        return chosen
    except (ValueError, KeyError, TypeError) as error:
        raise WorkDirError(f"{path} cannot be read ({error}). Choose another --workdir.") from error
