"""Prepared data sets of made-up slices, without files of slices."""

import dataclasses
import json

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants, prepared
from tests.fakes import fakes

CONFIG = fakes.tiny_config(num_modalities=2)


@dataclasses.dataclass(frozen=True)
class FakeData(prepared.PreparedData):
    """A data set in which each case is one slice; with `dice`, one value a case, it is a synthetic one."""

    dice: tuple[float, ...] = ()

    def slices(self, split):
        cases = [case.encode() for case in self.cases[split]]
        more = {"case_id": cases, "slice_index": np.zeros(len(cases), np.int32)}
        shape = (len(cases), fakes.SIZE, fakes.SIZE, 1)
        if self.dice:
            more |= {"structure": np.zeros(shape, np.uint8), "background": np.zeros(shape, np.uint8)}
            more["dice"] = np.repeat(np.float32(self.dice)[:, None], 2, axis=1)
        further = tf.data.Dataset.from_tensor_slices(more)
        return tf.data.Dataset.zip((fakes.slices(len(cases), CONFIG), further)).map(lambda a, b: {**a, **b})


def data_set(folder, name, split, dice=(), **record):
    """A data set of `CONFIG` in a new folder, whose record holds its split (name to case ids) and `record`."""
    path = folder / name
    path.mkdir()
    data = {"modalities": list(CONFIG.data.modalities)}
    record = {"source": "cases", "patients": {}, "split": split, "data": data, **record}
    (path / constants.DATA_SET_RECORD).write_text(json.dumps(record))
    return FakeData(path, CONFIG.data, record, dice)
