"""Prepared data sets in memory, and a work directory as far as experiments read one, without training."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import run_folder
from tests.fakes import fakes

SLICES_PER_CASE = 3
CONFIG = fakes.tiny_config(num_modalities=2, num_classes=3)


@dataclasses.dataclass(frozen=True)
class DataInMemory(prepared.PreparedData):
    """Examples by split, as the base class reads them from disk."""

    examples: dict[str, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)

    def slices(self, split: str) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(self.examples[split])


def examples(seed: int, cases: list[str]) -> dict[str, np.ndarray]:
    """Slices of `fakes.head_slice`, features by name; modality 0 is dark, modality 1 bright."""
    rng = np.random.default_rng(seed)
    drawn = [fakes.head_slice(rng, 2, 3) for _ in range(SLICES_PER_CASE * len(cases))]
    found = {name: np.stack([example[name] for example in drawn]) for name in drawn[0]}
    found["image"] *= np.float16([0.4, 1.0])[:, None, None, None]
    found["case_id"] = found["patient_id"] = np.repeat(np.array(cases, dtype=object), SLICES_PER_CASE)
    found["slice_index"] = np.tile(np.arange(SLICES_PER_CASE, dtype=np.int32), len(cases))
    return found


def real_data(train: int = 4, test: int = 2) -> DataInMemory:
    cases = {"train": [f"a{i}" for i in range(train)], "test": [f"b{i}" for i in range(test)]}
    record = {"source": "cases", "split": cases, "patients": {}}
    slices = {name: examples(seed, ids) for seed, (name, ids) in enumerate(cases.items())}
    return DataInMemory(pathlib.Path("real"), CONFIG.data, record, slices)


def synthetic_data(images: dict[str, np.ndarray], real: DataInMemory) -> DataInMemory:
    """A synthetic set of the given slices, each with the map and mask of its first modality."""
    count = len(images["image"])
    head = images["image"][:, 0] > 0
    names = np.array([f"synthetic_{i}" for i in range(count)], dtype=object)
    changes = {"case_id": names, "patient_id": names, "structure": head.astype(np.uint8)}
    changes["background"] = 1 - changes["structure"]
    rates = {"structure_acceptance": 0.5, "map_acceptance": 0.75, "lesion_acceptance": 0.6}
    acceptance = {"drawn": 20, "synthesised": 10, **rates, "settings": {"real_anatomy": False}}
    generation = {"trained_on": {"synthesis": [real.record]}, "labels_from": real.record, "passed_lesion_filter": 6}
    record = {"source": "synthetic", "split": {"train": names.tolist()}, "generation": {**acceptance, **generation}}
    return DataInMemory(pathlib.Path("synthetic"), CONFIG.data, record, {"train": {**images, **changes}})


def request(folder: pathlib.Path, real: DataInMemory, synthetic: DataInMemory, **settings) -> Request:
    """A request on a work directory that holds configurations alone."""
    for stage in (constants.SEGMENTATION, constants.SYNTHESIS):
        atomic.write_text(folder / stage / run_folder.CONFIG_FILE, tree.to_json(CONFIG))
        records.write_json(folder / stage / "trained_on.json", [real.record])
    return Request(folder, real, (synthetic,), **settings)
