import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets import synthetic
from datasets.synthetic.blocks import Blocks
from datasets.synthetic.statistics import LabelStatistics, LesionAgreement
from mmsynth_tf import constants, prepared
from mmsynth_tf.configs import GenerationConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import sampling
from mmsynth_tf.storage.atomic import new_folder
from tests.fakes.fakes_cases import DATA

SIZE = (*DATA.image_size, 1)
DATA_RECORD = {
    "source": "cases",
    "release": "brats2017-2021",
    "created": "2026-01-01T00:00:00+00:00",
    "split": {"train": ["a_1", "a_2", "b_1"], "validation": [], "test": ["c_1"]},
    "patients": {"a_1": "a", "a_2": "a", "b_1": "b", "c_1": "c"},
}
IDENTITY = {
    "seed": 5,
    "draws_per_block": 4,
    "labels_from": DATA_RECORD,
    "trained_on": {constants.STRUCTURE: [DATA_RECORD]},
    "settings": {"mask_error": 0.05, "map_quantile": 0.1, "dice_threshold": 0.9, "real_anatomy": False},
    "augmentation": {"scale": 0.1},
    "checkpoints": {constants.STRUCTURE: "0123"},
    "made_with": {"device": "CPU"},
}


class Generation:
    """Four draws a block, of which block b keeps those whose number is not a multiple of b + 2.

    Args:
      fails_at: draw that fails.
      **settings: of the identity.
    """

    def __init__(self, fails_at=None, **settings):
        self.data, self.settings = DATA, GenerationConfig(batch_size=4)
        self.identity = {**IDENTITY, **settings}
        self.draws_per_block = IDENTITY["draws_per_block"]
        self.fails_at, self.made = fails_at, []

    def block(self, number, counts):
        self.made.append(number)
        for draw in range(4 * number, 4 * number + 4):
            if draw == self.fails_at:
                raise RuntimeError("generator failed")
            counts.update(drawn=1, closed=1, typical=1, labelled=1, synthesised=1)
            if draw % (number + 2):
                counts.update(agreed=1, kept=1)
                yield self.example(draw)

    @staticmethod
    def example(draw):
        return {
            "image": {name: np.full(SIZE, draw / 32, np.float16) for name in DATA.modalities},
            "available": np.ones(4, bool),
            "label": np.full(SIZE, draw % 3, np.uint8),
            "has_label": True,
            "case_id": f"synthetic_{draw}",
            "patient_id": f"synthetic_{draw}",
            "slice_index": 0,
            "position": draw / 32,
            "structure": np.ones(SIZE, np.uint8),
            "background": np.zeros(SIZE, np.uint8),
            "seed": 2**40 + draw,
            "label_source": "case:3",
            "label_transform": np.arange(8, dtype=np.float32),
            "anatomy_source": "",
            "mask_error": 0.01,
            "map_similarity": 0.8,
            "dice": np.linspace(0, 1, 4, dtype=np.float32),
        }


# Draws that the first blocks keep: 1, 3 | 4, 5, 7 | 9, 10, 11 | …
FIRST_SIX = [1, 3, 4, 5, 7, 9]


def build(generation, count, output):
    with new_folder(output, constants.DATA_SET_RECORD) as folder:
        synthetic.build(generation, count, output, folder)
    return json.loads((output / constants.DATA_SET_RECORD).read_text())


def shards(folder):
    return [path.read_bytes() for path in sorted(folder.glob("*.tfrecord-*"))]


def test_writes_the_first_accepted_samples_and_their_provenance(tmp_path):
    record = build(Generation(), 6, tmp_path / "out")
    assert record["split"]["train"] == [f"synthetic_{draw}" for draw in FIRST_SIX]
    rates = {"drawn": 12, "passed_lesion_filter": 8, "lesion_acceptance": 8 / 12}
    assert record["generation"].items() >= {**IDENTITY, **rates}.items()
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    assert builder.info.splits["train"].shard_lengths == [2, 3, 1]
    found = list(tfds.as_numpy(builder.as_dataset(split="train")))
    for draw, example in zip(FIRST_SIX, found, strict=True):
        expected = Generation.example(draw)
        assert example["case_id"].decode() == expected["case_id"]
        for name in ("position", "label", "structure", "background", "label_transform", "dice", "seed"):
            np.testing.assert_array_equal(example[name], expected[name])
        np.testing.assert_array_equal(example["image"]["t2"], expected["image"]["t2"])


def test_a_build_that_failed_goes_on(tmp_path):
    undisturbed = build(Generation(), 6, tmp_path / "undisturbed")
    with pytest.raises(RuntimeError, match="generator failed"):
        build(Generation(fails_at=6), 6, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    generation = Generation()
    record = build(generation, 6, tmp_path / "out")
    assert generation.made == [1, 2]
    assert shards(tmp_path / "out") == shards(tmp_path / "undisturbed")
    assert {**record, "created": undisturbed["created"]} == undisturbed


def test_workers_make_what_one_would(tmp_path):
    build(Generation(), 6, tmp_path / "one")
    workers = [Generation() for _ in range(2)]
    for number in (1, 0):
        synthetic.make_blocks(workers[number], 6, tmp_path / "shared", number, num_workers=2)
    # The second worker saw the blocks of the first.
    assert [worker.made for worker in workers] == [[0, 2], [1, 3]]
    finisher = Generation()
    build(finisher, 6, tmp_path / "shared")
    assert not finisher.made
    assert shards(tmp_path / "shared") == shards(tmp_path / "one")


def test_what_a_worker_left_out_is_made_at_the_end(tmp_path):
    build(Generation(), 6, tmp_path / "one")
    synthetic.make_blocks(Generation(), 3, tmp_path / "shared", worker=1, num_workers=2)
    finisher = Generation()
    build(finisher, 6, tmp_path / "shared")
    assert finisher.made == [0, 2]
    assert shards(tmp_path / "shared") == shards(tmp_path / "one")


def test_samples_of_another_making_are_not_mixed_in(tmp_path):
    synthetic.make_blocks(Generation(), 2, tmp_path / "out")
    with pytest.raises(UserError, match=r"out\.blocks .*\(seed, settings.dice_threshold differ\)"):
        build(Generation(seed=6, settings={**IDENTITY["settings"], "dice_threshold": 0.8}), 2, tmp_path / "out")


def test_gives_up_when_nothing_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_DRAWS_PER_SAMPLE", 3)
    monkeypatch.setattr(Generation, "block", lambda self, number, counts: iter(counts.update(drawn=4) or ()))
    with pytest.raises(sampling.GenerationError, match="Gave up: 12 draws gave 0 samples"):
        synthetic.make_blocks(Generation(), 2, tmp_path / "out")


def test_a_data_set_that_does_not_fit_the_disk_is_refused_at_once(tmp_path):
    generation = Generation()
    with pytest.raises(OSError, match=r"needs about .* are free"):
        build(generation, 10**12, tmp_path / "out")
    assert not generation.made


def test_statistics_of_labels():
    statistics = LabelStatistics(DATA)
    for pixels in ([90, 10, 0, 0, 0], [70, 0, 20, 0, 10], [100, 0, 0, 0, 0]):
        statistics.add(pixels)
    found = statistics.summary()
    assert (found["slices"], found["slices_without_lesion"]) == (3, 1)
    assert list(found["slices_with"].values()) == [3, 1, 1, 0, 1]
    assert list(found["pixels"].values()) == [260, 10, 20, 0, 10]
    # Areas 10 and 30.
    assert found["lesion_area"] == {"mean": 20.0, "sd": 10.0, "smallest": 10, "largest": 30}
    assert LabelStatistics(DATA).summary()["lesion_area"] is None


def test_slices_without_a_lesion_do_not_raise_the_agreement_of_the_others():
    agreement = LesionAgreement(DATA.modalities)
    for has_lesion, dice in ((True, [0.8, 0.6, 0.4, 1.0]), (True, [0.6, 0.2, 0.4, 1.0]), (False, [1, 1, 0, 1])):
        agreement.add(has_lesion, dice)
    found = agreement.summary()
    assert found["with_lesion"]["slices"] == 2
    assert found["with_lesion"]["dice"] == pytest.approx({"t1": 0.7, "t2": 0.4, "t1c": 0.4, "flair": 1.0})
    assert found["without_lesion"] == {"slices": 1, "nothing_found": {"t1": 1, "t2": 1, "t1c": 0, "flair": 1}}
    assert LesionAgreement(DATA.modalities).summary()["with_lesion"] == {"slices": 0, "dice": {}}


def test_the_set_opens_and_has_a_card(tmp_path):
    build(Generation(), 4, tmp_path / "out")
    assert len(prepared.open_prepared(tmp_path / "out").cases["train"]) == 4
    assert constants.DISCLAIMER in (tmp_path / "out" / "README.md").read_text()


def test_expected_blocks_follow_from_what_the_finished_ones_hold(tmp_path):
    blocks = Blocks(tmp_path / "blocks", Generation())
    # Nothing is known yet: four draws a block, all kept.
    assert blocks.expected(9) == [0, 1, 2]
    blocks.make_block(1)
    # Block 1 keeps three.
    assert blocks.expected(9) == [0, 2]
    for number in blocks.expected(9):
        blocks.make_block(number)
    # Block 0 keeps two and block 2 three, so one is missing.
    assert blocks.expected(9) == [3]
    assert blocks.expected(8) == []
