"""Benchmarks at a tiny size: they run, compare equal things and give their fields. Nothing is timed here."""

import dataclasses
import importlib.util
import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import (
    build_rate,
    generation,
    growth,
    literal_method,
    memory,
    modes,
    operations,
    stage_step,
    start,
    steps,
    table,
    timing,
    torch_unet,
    waiting,
)
from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.configs.structure import STRUCTURE_FORMULATIONS
from mmsynth_tf.models.adam import Adam
from tests.fakes import fakes, training_checks
from tests.fakes.two_scales import TwoScales

SMALL = {"synthesis__choices__residual_blocks": 0, "segmentation__design": constants.ONE_SEGMENTER}


@pytest.mark.parametrize(
    ("stage", "triples"), [(constants.STRUCTURE, 1), (constants.SYNTHESIS, 0), (constants.SYNTHESIS, 1)]
)
@pytest.mark.usefixtures("without_tracing")
def test_literal_steps_have_the_same_losses_and_gradients(stage, triples):
    with literal_method.formulation(STRUCTURE_FORMULATIONS, "literal", **literal_method.STRUCTURE_CHOICES) as name:
        choices = {"synthesis__triples_per_slice": triples, "structure__formulation": name}
        config = fakes.tiny_config(3, 2, configs.preset("cpu"), **choices, **SMALL)
        assert steps.prepare(stage, "", config).difference < 1e-3


def test_steps_are_timed_beside_the_literal_ones_and_a_convolution_of_their_own():
    contest = steps.prepare(constants.SEGMENTATION, "", fakes.tiny_config(2, 2, **SMALL))
    [row] = steps.times([contest], rounds=1)
    assert row["largest_difference"] < 1e-3
    assert row["share_of_ceiling"] == pytest.approx(row["gflop_per_second"] / row["ceiling_gflop_per_second"])
    assert row["times_faster"] == pytest.approx(row["literal_milliseconds"] / row["milliseconds"])
    assert row["times_faster_at_the_ceiling"] == pytest.approx(row["times_faster"] / row["share_of_ceiling"])


def test_a_step_may_have_no_literal_one_of_its_own():
    contest = steps.prepare(constants.SEGMENTATION, "all", fakes.tiny_config(2, 2, **SMALL))
    alone = dataclasses.replace(contest, sums="own", literal=None, difference=None)
    first, row = steps.times([contest, alone], rounds=1)
    assert row["literal_milliseconds"] is row["times_faster"] is row["largest_difference"] is None
    assert row["times_faster_than_literal_all_pairs"] == pytest.approx(
        first["literal_milliseconds"] / row["milliseconds"]
    )


def test_a_difference_is_relative():
    assert steps.largest_difference({"a": 10.0, "b": -1.0}, {"a": 11.0, "b": -1.05}) == pytest.approx(0.1)


def test_operations_of_matrix_products_are_counted():
    model = training_checks.compile_with_sgd(TwoScales())
    step = tf.function(model.train_step, autograph=False).get_concrete_function({"x": tf.TensorSpec([2, 1])})
    work = operations.of_graph(step.graph, model)
    # y = x a, z = y b; for a: dz bᵀ and xᵀ dy; for b: yᵀ dz. Five products of [2, 1] and [1, 1], 2 · 2 each.
    assert work.flops == 5 * 2 * 2
    # Five products of 2 + 1 + 2 numbers, and two weights for the optimizer.
    assert work.least_bytes == 4 * (5 * 5 + 7 * 2)
    assert work.unfused_bytes > 4 * 5 * 5
    assert work.launches > 5


def test_an_update_by_adam_counts_its_seven_accesses():
    variable, optimizer = tf.Variable(tf.zeros([5])), Adam()
    optimizer.build([variable])
    update = tf.function(lambda gradient: optimizer.apply_gradients([(gradient, variable)]), autograph=False)
    found = update.get_concrete_function(tf.TensorSpec([5])).graph.get_operations()
    [bytes_] = [operations._bytes(op) for op in found if op.type == "ResourceApplyAdam"]
    assert bytes_ == 4 * 7 * 5


def test_operations_of_convolutions_are_counted_with_their_gradients():
    config = fakes.tiny_config(2, 2, segmentation__levels=1, segmentation__base_filters=3, segmentation__batch_size=4)
    work = operations.of_step(constants.SEGMENTATION, config)
    pixels = 4 * fakes.SIZE**2
    # A level has two convolutions of 3 x 3, then come two classes. The first needs no gradient of its input.
    per_pixel = 2 * 9 * (2 * 1 * 3 + 3 * 3 * 3 + 3 * 3 * 2)
    assert work.flops == 2 * pixels * per_pixel
    assert steps.costliest(work.convolutions)[0].filters == (3, 3, 3, 3)


def test_a_process_of_its_own_measures_memory_and_time_of_a_step(capsys, monkeypatch):
    config = fakes.tiny_config(2, 2)
    memory.child(constants.JOINT, tree.to_json(config), "1")
    found = json.loads(capsys.readouterr().out)
    assert found["peak_gib"] >= found["base_gib"] > 0 and found["seconds_per_step"] > 0
    assert found["million_weights"] > 0
    finished = subprocess.CompletedProcess([], 0, stdout=f"noise\n{json.dumps(found)}\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: finished)
    described = {"preset": "tiny", "stage": "joint", "side": fakes.SIZE, "batch_size": config.joint.batch_size}
    assert memory.of_stage(constants.JOINT, "tiny", config) == described | found
    failed = subprocess.CompletedProcess([], -9, stdout="", stderr="killed")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(RuntimeError, match=r"joint of tiny failed \(-9\)"):
        memory.of_stage(constants.JOINT, "tiny", config)


def test_every_axis_of_growth_holds_the_base():
    config = fakes.tiny_config(4, data__image_size=(32, 32))
    axes = growth.axes(config)
    for axis, values in axes.items():
        assert list(values) == sorted(values) and () in values.values(), axis
    assert tree.override(config, dict(axes["modalities"][8])).data.num_modalities == 8
    assert tree.override(config, dict(axes["pixels"][48 * 48])).data.image_size == (48, 48)


@pytest.mark.usefixtures("without_tracing")
def test_every_mode_stands_beside_the_plain_one(monkeypatch):
    monkeypatch.setattr(constants, "STAGES", (constants.SEGMENTATION,))
    monkeypatch.setattr(modes, "MODES", (modes.PLAIN, modes.Mode("mixed_bfloat16", True)))
    rows = list(modes.run(fakes.tiny_config(2, 2, **SMALL), rounds=1))
    assert [(row["precision"], row["xla"]) for row in rows] == [("float32", False), ("mixed_bfloat16", True)]
    assert rows[0]["times_faster"] == 1
    assert all(row["times_faster"] == rows[0]["milliseconds"] / row["milliseconds"] for row in rows)


@pytest.mark.usefixtures("without_tracing")
def test_growth_is_seen_beside_the_smallest(monkeypatch):
    monkeypatch.setattr(growth, "axes", lambda base: {"batch_size": {2: (), 4: (("synthesis.batch_size", 4),)}})
    small, large = growth.run(fakes.tiny_config(2, 2, **SMALL), rounds=1)
    assert (small["times_larger"], small["times_longer"], small["growth"]) == (1, 1, 1)
    assert large["times_larger"] == 2 and large["growth"] == pytest.approx(large["times_longer"] / 2)


def test_waiting_is_counted_for_real_steps_and_for_sleeps(prepared_data):
    config = fakes.tiny_config(4, 5, segmentation__design=constants.ONE_SEGMENTER)
    sizes = {"real": config, "again": config}
    real, sleep = waiting.of_stage(constants.SEGMENTATION, sizes, dict.fromkeys(sizes, prepared_data), rounds=2)
    assert (real["step"], sleep["step"]) == ("real", "sleep")
    assert sleep["step_milliseconds"] >= 500
    assert all(0 <= row["share_waited"] <= 1 for row in (real, sleep))


def test_data_for_waiting_has_the_geometry_of_the_configuration(tmp_path):
    data = fakes.tiny_config(4, data__modalities=constants.BRATS_MODALITIES, data__labels=constants.BRATS_LABELS).data
    example = next(iter(waiting.made_up_data(tmp_path, data).slices("train")))
    assert example["image"].shape == (4, fakes.SIZE, fakes.SIZE, 1)
    assert example["label"].numpy().any() and example["image"].numpy().any()


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    beyond = {"synthesis__choices__contrast_condition": True}
    config = fakes.tiny_config(2, 2, generation__batch_size=2, **beyond, **SMALL)
    return generation.makers(config, tmp_path_factory.mktemp("exported"))


def test_every_way_of_generation_makes_the_same_samples(makers):
    draws = makers[0].draws(4)
    batches = makers[0].make(draws, 2, beside=True)
    assert batches.shape == (4, 2)
    for maker in makers:
        np.testing.assert_allclose(batches, maker.make(draws, 1, beside=False), atol=1e-3)


def test_ways_of_generation_stand_beside_each_other(makers, monkeypatch):
    monkeypatch.setattr(generation, "makers", lambda config, folder: makers)
    monkeypatch.setattr(build_rate.Build, "__init__", lambda self, config, folder, samples: None)
    monkeypatch.setattr(build_rate.Build, "make", lambda self: None)
    beside, after, alone, called, build = generation.run(makers[0].config, samples=4, rounds=1)
    assert [row["batch_size"] for row in (beside, after, alone, called, build)] == [2, 2, 1, 1, 2]
    assert alone["times_faster_than_one_at_a_time"] == 1
    assert called["times_faster_than_calls_of_keras_models"] == 1
    assert beside["times_longer_than_beside"] == 1
    # An eighth of the samples take the way of the Keras models; a build makes all of them.
    assert build["times_longer_than_beside"] == pytest.approx(beside["slices_per_second"] / build["slices_per_second"])


def test_a_build_keeps_every_draw_of_untrained_networks_and_asks_the_segmenters(tmp_path):
    brats = {"data__modalities": constants.BRATS_MODALITIES, "data__labels": constants.BRATS_LABELS}
    config = fakes.tiny_config(4, 5, generation__batch_size=2, generation__dice_threshold=0.7, **brats, **SMALL)
    build = build_rate.Build(config, tmp_path, samples=4)
    assert [build.make(), build.make()] == [4, 4]
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "blocks").glob("block-*.json"))]
    cases = [sample["case_id"] for record in records for sample in record["samples"]]
    assert cases == [f"synthetic_{number:09d}" for number in range(8)]
    assert all(np.isfinite(sample["dice"]).all() for record in records for sample in record["samples"])


def test_the_unet_in_pytorch_is_the_same_size():
    pytest.importorskip("torch", reason="PyTorch is not installed (pip install -e '.[bench]')")
    from benchmarks import torch_steps

    config = fakes.tiny_config(1, 5, segmentation__levels=3)
    own = stage_step.model(constants.SEGMENTATION, config)
    settings = config.segmentation
    other = torch_steps.UNet(settings.base_filters, settings.levels, config.data.num_classes)
    count = sum(int(tf.size(v)) for v in own.groups["lesion"].variables)
    assert sum(p.numel() for p in other.parameters()) == count
    assert len(list(torch_unet.run(config, rounds=1))) == 3


def test_without_pytorch_its_comparison_is_left_out(monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(torch_unet.run(fakes.tiny_config(), rounds=1)) == []
    assert "pip install -e '.[bench]'" in caplog.text


def test_all_functions_are_called_once_a_round_and_once_before():
    calls = []
    seconds = timing.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3 and set(seconds) == {"a", "b"}


def test_records_become_tables():
    rows = [{"stage": "structure", "times_faster": 2.0}, {"stage": "own", "times_faster": None}]
    text = table.page({"steps": rows, "empty": []}, "a machine")
    assert text.splitlines()[-4:] == [
        "| stage | times faster |",
        "| --- | --- |",
        "| structure | 2 |",
        "| own | – |",
    ]


def test_a_run_without_a_first_step_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="holds no whole data set"):
        start.first_step(constants.STRUCTURE, tmp_path / "absent", tmp_path / "models")
