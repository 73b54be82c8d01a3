"""TFDS builder for slices that trained generators make (method §7)."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import tensorflow_datasets as tfds

from datasets.features import synthetic_features
from datasets.prepare import data_set_record, write_data_set
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.splits import TEST, TRAIN, VALIDATION

_DESCRIPTION = "Synthetic registered slices with lesion labels. Research software. Not for clinical use."


class Generation(Protocol):
    """A run of the generators. Iterating makes the examples, named as `datasets.features.synthetic_features` says."""

    data: DataConfig  # What the generators were trained on; gives size, modalities and classes.
    provenance: Mapping[str, Any]  # Thresholds, drops, hashes of checkpoints; complete after the iteration.

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


@dataclasses.dataclass
class SyntheticConfig(tfds.core.BuilderConfig):
    """Where the examples come from.

    Attributes:
      data: slice geometry, modalities and classes.
      examples: iterated once.
    """

    name: str = "slices"
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    examples: Iterable[dict[str, Any]] = dataclasses.field(default=(), repr=False)


class Synthetic(tfds.core.GeneratorBasedBuilder):
    """Generated slices; all of them are training data."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(synthetic_features(self.builder_config.data))
        return self.dataset_info_from_configs(features=features, description=_DESCRIPTION)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # Nothing is downloaded.
        return {TRAIN: self._generate_examples(self.builder_config.examples)}

    def _generate_examples(self, examples: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in examples:
            yield example["case_id"], example


def build(generation: Generation, folder: Path) -> None:
    """Writes what a generation yields as a prepared data set into an existing folder."""
    case_ids: list[str] = []

    def noted() -> Iterator[dict[str, Any]]:
        for example in generation:
            case_ids.append(example["case_id"])
            yield example

    config = SyntheticConfig(data=generation.data, examples=noted())
    write_data_set(
        lambda data_dir: Synthetic(data_dir=data_dir, config=config),
        folder,
        lambda: data_set_record(
            generation.data,
            source="synthetic",
            release="synthetic",
            split={TRAIN: case_ids, VALIDATION: [], TEST: []},
            patients={},
            generation=dict(generation.provenance),
        ),
    )
