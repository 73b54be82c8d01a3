"""Opens prepared data sets by path.

TensorFlow is imported where slices are read: a wrong path is refused before its seconds are spent.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


class PreparedDataError(UserError):
    """A folder is not a whole prepared data set, or not one that fits."""


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A data set made by ``datasets/build.py``."""

    path: pathlib.Path
    config: configs.DataConfig
    record: dict  # The whole data_set.json.

    @property
    def cases(self) -> dict[str, list[str]]:
        """Case ids of each split."""
        return self.record["split"]

    def num_slices(self, split: str) -> int:
        """Number of slices of a split, 0 without it; no slice is read.

        Raises:
          PreparedDataError: the description of the files cannot be read.
        """
        path = self.path / "dataset_info.json"  # Of TensorFlow Datasets.
        try:
            splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
            return sum(int(length) for found in splits if found["name"] == split for length in found["shardLengths"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PreparedDataError(f"{path} cannot be read ({error}); build the data set again.") from error

    def slices(self, split: str) -> "tf.data.Dataset":
        """Examples of a split, in a fixed order.

        Yields dicts: `image` float16 [n, H, W, 1] in [0, 1]; `available` bool [n];
        `label` uint8 [H, W, 1]; `has_label` bool; `case_id` string; `slice_index` int32;
        `position` float32, 0 at the head's lowest slice and 1 at its highest;
        and, in synthetic sets, their further features.

        Raises:
          PreparedDataError: the split is empty.
        """
        import tensorflow as tf
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(self.path))
        if split not in builder.info.splits:
            raise PreparedDataError(
                f"{self.path} has no slices in its {split!r} split; build it with a larger "
                f"data.{split}_fraction or give another data set."
            )
        examples = builder.as_dataset(split=split, read_config=tfds.ReadConfig(interleave_cycle_length=1))

        def stack_modalities(example: dict) -> dict:
            return {**example, "image": tf.stack([example["image"][name] for name in self.config.modalities])}

        return examples.map(stack_modalities, num_parallel_calls=tf.data.AUTOTUNE)


def require_features(slices: "tf.data.Dataset", names: Sequence[str]) -> None:
    """Refuses examples that lack features.

    Raises:
      PreparedDataError: names what is missing.
    """
    missing = [name for name in names if name not in slices.element_spec]
    if missing:
        raise PreparedDataError(
            f"The slices have no {', '.join(missing)}: an earlier version of mmsynth_tf prepared them. Build the data "
            "set again with datasets/build.py."
        )


def has_real_anatomy(generation: Mapping[str, Any]) -> bool:
    """Whether synthetic slices are real slices with inserted lesions, by "generation" in the record of their set."""
    return generation["settings"]["real_anatomy"]


def lesion_kind(generation: Mapping[str, Any]) -> str | None:
    """`constants.PASTED` or `PAINTED` if no model made the lesions; such slices have real anatomy, too."""
    return generation.get("lesions")


def open_prepared(path: str | pathlib.Path) -> PreparedData:
    """Opens a prepared data set.

    Raises:
      PreparedDataError: the folder does not hold a whole data set of this version.
    """
    path = pathlib.Path(path)
    record_path = path / constants.DATA_SET_RECORD
    if not record_path.is_file():
        raise PreparedDataError(
            f"{path} holds no whole data set ({constants.DATA_SET_RECORD} is missing); make one with datasets/build.py."
        )
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        config = tree.override(configs.DataConfig(), record["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise PreparedDataError(f"{record_path} cannot be read ({error}); build the data set again.") from error
    return PreparedData(path, config, record)


# What decides whether a model fits a data set; splits and slice ranges may differ.
_GEOMETRY = (
    "modalities",
    "labels",
    "image_size",
    "crop_rows",
    "crop_columns",
    "percentiles",
    "median",
)


def geometry(config: configs.DataConfig) -> dict[str, Any]:
    """The settings that slices of data sets must share to fit together."""
    return {name: getattr(config, name) for name in _GEOMETRY}


def require_same_geometry(data: PreparedData, expected: configs.DataConfig, owner: str) -> None:
    """Refuses a data set that was built with other settings than a model's.

    Raises:
      PreparedDataError: names each setting that differs.
    """
    differing = geometry_differences(data.config, expected, owner)
    if differing:
        raise PreparedDataError(
            f"{data.path} does not fit: {'; '.join(differing)}. Build the data set with the settings of {owner}."
        )


def geometry_differences(there: configs.DataConfig, expected: configs.DataConfig, owner: str) -> list[str]:
    """A text for each setting that keeps slices made with `there` from fitting `owner`, which expects other ones."""
    return [
        f"{name} is {getattr(there, name)} there and {getattr(expected, name)} in {owner}"
        for name in _GEOMETRY
        if getattr(there, name) != getattr(expected, name)
    ]
