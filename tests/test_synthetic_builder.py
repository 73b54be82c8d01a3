import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets import synthetic
from mmsynth_tf import constants
from mmsynth_tf.records import new_folder
from tests.fakes_cases import DATA

SIZE = (*DATA.image_size, 1)


class Generation:
    """Three slices; the second step fails when asked to."""

    def __init__(self, fails=False):
        self.data, self.provenance, self.fails = DATA, {}, fails

    def __iter__(self):
        for index in range(3):
            if self.fails and index == 1:
                raise RuntimeError("generator failed")
            yield self.example(index)
        self.provenance = {"dropped": {"dice": 7}}

    @staticmethod
    def example(index):
        return {
            "image": {name: np.full(SIZE, index / 4, np.float16) for name in DATA.modalities},
            "available": np.ones(4, bool),
            "label": np.full(SIZE, index, np.uint8),
            "has_label": True,
            "case_id": f"synthetic_{index}",
            "patient_id": f"synthetic_{index}",
            "slice_index": 0,
            "structure": np.ones(SIZE, np.uint8),
            "background": np.zeros(SIZE, np.uint8),
            "seed": 2**40 + index,
            "label_source": "case:3",
            "label_transform": np.arange(8, dtype=np.float32),
            "mask_error": 0.01,
            "dice": np.linspace(0, 1, 4, dtype=np.float32),
        }


def test_writes_examples_and_provenance(tmp_path):
    with new_folder(tmp_path / "out", "data_set.json") as folder:
        synthetic.build(Generation(), folder)
    record = json.loads((tmp_path / "out" / constants.DATA_SET_RECORD).read_text())
    assert record["generation"] == {"dropped": {"dice": 7}}
    assert record["split"]["train"] == ["synthetic_0", "synthetic_1", "synthetic_2"]
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    found = {e["case_id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split="train"))}
    for index in range(3):
        expected = Generation.example(index)
        for name in ("label", "structure", "background", "label_transform", "dice", "seed"):
            np.testing.assert_array_equal(found[f"synthetic_{index}"][name], expected[name])
        np.testing.assert_array_equal(found[f"synthetic_{index}"]["image"]["t2"], expected["image"]["t2"])


def test_failing_generation_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="generator failed"), new_folder(tmp_path / "out", "data_set.json") as folder:
        synthetic.build(Generation(fails=True), folder)
    assert not list(tmp_path.iterdir())
