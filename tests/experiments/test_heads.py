"""Stacks of maps that form a head are told from those that do not."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks, study
from mmsynth_tf.experiments.heads import heads, stacks
from mmsynth_tf.experiments.slice_sets import SliceSet
from mmsynth_tf.storage import records
from mmsynth_tf.training import runs
from tests.fakes import fakes_sets

SIZE = 32
CONFIG = tree.override(fakes_sets.CONFIG, {"data.image_size": (SIZE, SIZE)})
POSITIONS = np.linspace(-0.1, 1.0, 12, dtype=np.float32)


def cones(positions, width=0.0):
    """Slices of heads that are wider the higher they lie: float32 [N, H, W, 1]; empty below the head."""
    rows, columns = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    radius = np.where(np.asarray(positions) < 0, 0.0, 3.0 + width + 9.0 * np.asarray(positions))
    return (0.5 * (np.hypot(rows, columns) < radius[:, None, None])).astype(np.float32)[..., None]


def gan_that_asks_for(positions_of):
    """A structure stage whose maps are those of cones at some positions, given those that it is asked for."""

    def sample_binary(codes, positions):
        assert codes.shape == (len(positions), 5) and np.all(codes == codes[:1])
        images = tf.constant(cones(positions_of(positions.numpy())))
        edges = structure_maps.structure_map(images, CONFIG.structure_map)
        return edges, structure_maps.background_of(images, CONFIG.structure_map)

    return types.SimpleNamespace(code_dim=5, sample_binary=sample_binary)


def real_data():
    real = fakes_sets.real_data()
    for split, cases in real.cases.items():
        count = len(POSITIONS)
        images = np.concatenate([cones(POSITIONS, 0.5 * (number % 3)) for number in range(len(cases))])
        names = np.repeat(np.array(cases, dtype=object), count)
        real.examples[split] = {
            "image": np.stack([images, images], axis=1).astype(np.float16),
            "available": np.repeat(images.any(axis=(1, 2)), 2, axis=1),
            "label": np.zeros(images.shape, np.uint8),
            "has_label": np.ones(len(images), bool),
            "case_id": names,
            "patient_id": names,
            "slice_index": np.tile(np.arange(count, dtype=np.int32), len(cases)),
            # Examples are in no order.
            "position": np.tile(POSITIONS, len(cases)),
        }
        order = np.random.default_rng(0).permutation(len(images))
        real.examples[split] = {name: values[order] for name, values in real.examples[split].items()}
    return dataclasses.replace(real, config=CONFIG.data)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the experiment on a generator; returns the means by measure and kind of stack."""

    def run(positions_of, config=CONFIG, **settings):
        real = real_data()
        monkeypatch.setattr(runs, "load", lambda stage, workdir: (gan_that_asks_for(positions_of), config))
        records.write_json(tmp_path / constants.STRUCTURE / "trained_on.json", [real.record])
        tables = heads.run(study.Request(tmp_path, real, **settings))
        return tables, records.read_json(tmp_path / "evaluation" / "heads" / "records.json")

    return run


def means(rows, kind):
    names = (heads.INSIDE, heads.POSITION_ERROR, heads.HEADS_AGREE, heads.MAPS_AGREE)
    return [np.mean([r["value"] for r in rows if r["stacks"] == kind and r["metric"] == name]) for name in names]


def test_heads_made_at_their_positions_are_like_unseen_ones(run):
    tables, rows = run(lambda positions: positions)
    unseen, made = means(rows, heads.UNSEEN), means(rows, heads.MADE)
    assert made[0] == unseen[0] == 1.0
    assert max(made[1], unseen[1]) < 0.06
    np.testing.assert_allclose(made[2:], unseen[2:], atol=0.03)
    # Two cases of two modalities.
    assert sum(row["stacks"] == heads.MADE for row in rows) == 4 * 4
    assert "4 stacks of unseen patients" in tables["table"].caption


def test_one_slice_for_all_positions_is_no_head(run):
    _, rows = run(lambda positions: np.full_like(positions, 0.5))
    inside, error, heads_agree, _ = means(rows, heads.MADE)
    assert inside < 0.3
    # Distances of 0, 0.1, ... 1 from 0.5.
    assert error == pytest.approx(3.0 / 11, abs=0.03)
    assert heads_agree == 1.0


def test_slices_out_of_order_do_not_agree_with_their_neighbours(run):
    _, rows = run(lambda positions: positions[np.random.default_rng(0).permutation(len(positions))])
    unseen, made = means(rows, heads.UNSEEN), means(rows, heads.MADE)
    assert made[2] < unseen[2] - 0.1
    assert made[3] < unseen[3] - 0.1


def test_stacks_hold_the_slices_that_show_the_head_from_the_lowest_to_the_highest():
    found = stacks.real_stacks(SliceSet(real_data(), "test"), CONFIG.structure_map)
    assert [(stack.case, stack.modality) for stack in found] == [
        (case, modality) for case in ("b0", "b1") for modality in CONFIG.data.modalities
    ]
    for stack in found:
        np.testing.assert_allclose(stack.positions, POSITIONS[1:], atol=1e-6)
        assert np.all(np.diff(stack.head.sum(axis=(1, 2))) > 0)


def test_patients_that_were_trained_on_are_refused(run):
    with pytest.raises(leaks.LeakError):
        run(lambda positions: positions, split="train")


def test_a_structure_stage_without_positions_is_refused(run):
    with pytest.raises(UserError, match="does not know positions along the head"):
        run(lambda positions: positions, config=tree.override(CONFIG, {"structure.formulation": constants.PAPER}))
