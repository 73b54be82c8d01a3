"""Regenerates samples of a synthetic data set from their records, and compares them with the stored samples."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mmsynth_tf import configs, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import lesion_samples, sampling
from mmsynth_tf.reports import figures
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import checkpoints


class RemakeError(UserError):
    """A sample cannot be regenerated from the given inputs."""


@dataclasses.dataclass(frozen=True)
class Remade:
    """A regenerated sample.

    Attributes:
      case_id: its name.
      example: the regenerated features by name; images by modality under "image/<modality>".
      differences: for each feature that differs from the stored one, how.
    """

    case_id: str
    example: dict[str, np.ndarray]
    differences: dict[str, str]

    def summary(self) -> str:
        """One line."""
        texts = [f"{name}: {text}" for name, text in self.differences.items()]
        return f"{self.case_id}: {'; '.join(texts) or 'identical'}"


class Remaker:
    """Regenerates samples of one data set.

    Args:
      data: the synthetic data set.
      workdir: work directory with the stages that generated it; not needed for pasted and painted lesions.
      labels_from: the prepared data set that its labels came from.

    Raises:
      RemakeError: the set is not synthetic, or was built with other weights or labels.
    """

    def __init__(
        self, data: prepared.PreparedData, workdir: str | pathlib.Path | None, labels_from: str | pathlib.Path
    ):
        if data.record["source"] != "synthetic":
            raise RemakeError(f"{data.path} is no synthetic data set. Name one that was built with --source=synthetic.")
        recorded, self._data = data.record["generation"], data
        if kind := prepared.lesion_kind(recorded):
            self._generation = lesion_samples.LesionGeneration(kind, labels_from, _recorded_config(recorded))
        elif workdir is None:
            raise RemakeError(f"Trained stages generated {data.path}. Name their work directory with --workdir.")
        else:
            _refuse_other_weights(recorded, data.path, workdir)
            config, judge = _recorded_config(recorded), recorded["lesion_filter"]
            self._generation = sampling.Generation(workdir, labels_from, config, judge)
        labels = f"The labels of {labels_from} have changed, or --labels_from of the build was another data set"
        remedy = "Use the mmsynth_tf of the build, and give its data set, unchanged"
        self._refuse_other("label_pool", f"{labels}. {remedy}")
        self._refuse_other("rules", "Samples are made by other rules. Use the mmsynth_tf of the build")
        self._refuse_other("draws_per_block", "Blocks of samples have another length. Use the mmsynth_tf of the build")
        self.changes = _changes(recorded["made_with"], sampling.made_with())

    def remake(self, case_id: str) -> Remade:
        """Regenerates a sample and compares it with the stored one, bit by bit.

        Raises:
          RemakeError: there is no such sample.
        """
        stored = self._stored(case_id)
        made = self._generation.remake(int(stored["seed"]))
        if made is None:
            return Remade(case_id, {}, {"sample": "its map or label is no longer accepted"})
        made = _flat(made)
        differences = {name: _difference(value, made[name]) for name, value in stored.items()}
        return Remade(case_id, made, {name: text for name, text in differences.items() if text})

    def save(self, remade: Remade, folder: pathlib.Path) -> pathlib.Path:
        """Writes <case>.npz with all features, and a picture beside it; returns the former."""
        path = folder / f"{remade.case_id}.npz"
        folder.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **{name.replace("/", "_"): value for name, value in remade.example.items()})
        names, example = self._data.config.modalities, remade.example
        picture = figures.quadruples(
            np.stack([example[f"image/{name}"][..., 0] for name in names], axis=-1)[None].astype(np.float32),
            names,
            example["label"][None, ..., 0],
            self._data.config.labels,
            structures=example["structure"][None, ..., 0],
            backgrounds=example["background"][None, ..., 0],
        )
        with atomic.atomic_path(path.with_suffix(".png")) as temporary:
            temporary.write_bytes(picture)
        return path

    def _stored(self, case_id: str) -> dict[str, np.ndarray]:
        cases = self._data.cases["train"]
        if case_id not in cases:
            raise RemakeError(
                f"{self._data.path} holds no sample {case_id}. Choose one of its {len(cases)} samples, {cases[0]} to "
                f"{cases[-1]}."
            )
        position = cases.index(case_id)
        builder = tfds.builder_from_directory(str(self._data.path))
        [example] = tfds.as_numpy(builder.as_dataset(split=f"train[{position}:{position + 1}]"))
        return _flat(example)

    def _refuse_other(self, name: str, message: str) -> None:
        there, here = (made.get(name) for made in (self._data.record["generation"], self._generation.identity))
        if there != here:
            raise RemakeError(f"{message}: {name} of {self._data.path} is {there}, here it is {here}.")


def _refuse_other_weights(recorded: Mapping[str, Any], path: pathlib.Path, workdir: str | pathlib.Path) -> None:
    here = checkpoints.checkpoint_hashes(workdir)
    for stage in recorded["trained_on"]:
        if recorded["checkpoints"][stage] != here.get(stage):
            raise RemakeError(
                f"{path} was generated by {stage} weights with SHA-256 {recorded['checkpoints'][stage]}, but the "
                f"weights in {workdir} have {here.get(stage, 'none')}. Give the --workdir of the build, unchanged."
            )


def _recorded_config(recorded: Mapping[str, Any]) -> configs.Config:
    sections = {"generation": "settings", "augmentation": "augmentation", "structure_map": "structure_map"}
    parts = {section: recorded.get(name, {}) for section, name in sections.items()}
    values = {f"{part}.{name}": value for part, settings in parts.items() for name, value in settings.items()}
    return tree.override(configs.Config(), {**values, "runtime.seed": recorded["seed"]})


def _changes(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    return [f"{name} was {there.get(name)} and is {value}" for name, value in here.items() if there.get(name) != value]


def _flat(example: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Features as arrays of the types that are stored."""
    images = {f"image/{name}": value for name, value in example["image"].items()}
    rest = {name: value for name, value in example.items() if name != "image"}
    return {name: _as_array(value) for name, value in {**images, **rest}.items()}


def _as_array(value: Any) -> np.ndarray:
    return np.asarray(value.encode() if isinstance(value, str) else value)


def _difference(stored: np.ndarray, made: np.ndarray) -> str:
    """How a feature differs; empty if it is the same to the last bit."""
    made = made if stored.dtype.kind in "SO" else made.astype(stored.dtype)
    if stored.shape == made.shape and stored.tobytes() == made.tobytes():
        return ""
    if stored.shape != made.shape or stored.dtype.kind not in "fiu":
        return f"{stored} is stored, {made} was generated"
    apart = np.abs(stored.astype(np.float64) - made.astype(np.float64))
    return f"{int((apart > 0).sum())} of {apart.size} values differ, by at most {apart.max():.2g}"
