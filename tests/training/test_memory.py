"""Estimates of memory, and refusals before a training starts."""

import csv
import logging
from pathlib import Path

import pytest

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.training import memory

RECORD = Path(__file__).resolve().parents[2] / "docs/experiments/records/bench/memory.csv"


def measured() -> list[tuple[str, configs.Config, float]]:
    """Stage, settings and measured peak, GiB, less what TensorFlow took before."""
    with RECORD.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        filters = configs.preset(row["filters"])
        stage, config = (
            row["stage"],
            tree.override(filters, configs.presets.of_size(int(row["side"]), int(row["side"]))),
        )
        config = tree.override(config, {f"{stage}.batch_size": int(row["batch_size"])})
        found.append((stage, config, float(row["peak_gib"]) - float(row["base_gib"])))
    return found


def test_estimates_are_near_what_was_measured():
    rows = measured()
    assert {stage for stage, *_ in rows} == set(constants.STAGES)
    for stage, config, peak in rows:
        estimate = memory.step_gib(stage, config)
        assert abs(estimate - peak) <= memory.UNSURE * max(estimate, peak), (
            stage,
            config.data.image_size,
            estimate,
            peak,
        )


@pytest.mark.parametrize("stage", constants.STAGES)
def test_memory_grows_with_batch_pixels_and_filters(stage):
    base = configs.preset("cpu")
    filters = "segmentation" if stage == constants.JOINT else stage
    changes = (
        {f"{stage}.batch_size": 2 * getattr(base, stage).batch_size},
        {"data.image_size": (128, 128)},
        {f"{filters}.base_filters": 32},
    )
    assert all(memory.step_gib(stage, tree.override(base, c)) > memory.step_gib(stage, base) for c in changes)


def test_a_training_that_needs_clearly_more_memory_is_refused_with_remedies():
    config = configs.preset("workstation")
    with pytest.raises(
        UserError,
        match=r"structure stage needs about .* GiB of memory \(128x128 pixels, structure\."
        r"batch_size 16\), and 0\.1 GiB are free\..*smaller --config\.structure\.batch_size",
    ):
        memory.require_memory("structure", config, memory.Device(False, 0.1))
    with pytest.raises(UserError, match=r"triples_per_slice=1"):
        memory.require_memory("synthesis", configs.preset("paper"), memory.Device(False, 4.0))


def test_an_estimate_too_near_to_say_and_every_gpu_is_only_warned_of(caplog):
    caplog.set_level(logging.WARNING)
    config = configs.preset("workstation")
    needed = memory.step_gib("structure", config)
    for device in (memory.Device(False, 0.9 * needed), memory.Device(True, 0.1)):
        caplog.clear()
        memory.require_memory("structure", config, device)
        assert "may be too large" in caplog.text
    caplog.clear()
    for enough in (memory.Device(False, needed), memory.Device(False, None)):
        memory.require_memory("structure", config, enough)
    assert not caplog.text


def test_free_memory_is_the_system_s_or_the_container_s(tmp_path):
    meminfo, limit, none = (tmp_path / name for name in ("meminfo", "limit", "none"))
    meminfo.write_text("MemTotal:  16777216 kB\nMemAvailable:  8388608 kB\n")
    limit.write_text(f"{2**31}\n")
    none.write_text("max\n")
    assert memory.available_gib(meminfo, (none, tmp_path / "absent")) == 8.0
    assert memory.available_gib(meminfo, (none, limit)) == 2.0
    assert memory.available_gib(tmp_path / "absent") is None
