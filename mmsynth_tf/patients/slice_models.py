"""Exported models as functions of NumPy slices, run in batches."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tqdm

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.export import saved_models
from mmsynth_tf.stages.synthesis import translation

_BATCH_SIZE = 32


class SliceModels:
    """The functions of exported models that the jobs use.

    Slices are float32 [N, H, W] without a channel axis, for any N.

    Args:
      exported: functions and metadata.
      path: path of the exported models, for messages.

    Attributes:
      data: modalities, classes and geometry of the slices.
      latent_dim: dimensions of a latent code; None without a structure stage.
      structure_threshold: minimum probability at which a generated pixel is an edge.
      background_threshold: minimum probability at which a generated pixel is background.
    """

    def __init__(self, exported: saved_models.ExportedModels, path: str | Path):
        self._functions, self._metadata, self._path = exported.signatures, exported.metadata, path
        stages = self._metadata["stages"]
        self.data = tree.override(configs.DataConfig(), next(iter(stages.values()))["config"]["data"])
        self.latent_dim: int | None = self._metadata["latent_dim"]
        self.structure_threshold: float = self._metadata["thresholds"]["structure"]
        self.background_threshold: float = self._metadata["thresholds"]["background"]

    @classmethod
    def load(cls, path: str | Path) -> "SliceModels":
        """Loads models that `mmsynth_tf.export` wrote."""
        return cls(saved_models.load_exported(path), path)

    @property
    def structure_map(self) -> configs.StructureMapConfig:
        """Settings of the structure maps on which the synthesis stage was trained."""
        return tree.override(configs.StructureMapConfig(), self._synthesis_config["structure_map"])

    @property
    def guide_radius(self) -> int:
        """Radius of the guided filter's windows for translations, pixels; 0: no guided filter."""
        guided = self._synthesis_config["translation"]["guide_share"] > 0
        return translation.guide_radius(self.data.image_size) if guided else 0

    @property
    def _synthesis_config(self) -> Mapping[str, Mapping]:
        return self._metadata["stages"][constants.SYNTHESIS]["config"]

    @property
    def takes_position(self) -> bool:
        """Whether structure maps are made for a position along the head."""
        return "position" in self._wanted("sample_structure")

    @property
    def head_slices(self) -> list[tuple[int, int]]:
        """The lowest and the highest slice of the heads that the structure stage was trained on."""
        records = self._metadata["stages"][constants.STRUCTURE]["trained_on"]
        return [
            tuple(record["head_slices"][case])
            for record in records
            for case in record["split"]["train"]
            if case in record.get("head_slices", {})
        ]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each stage's weights."""
        return {stage: values["checkpoint_sha256"] for stage, values in self._metadata["stages"].items()}

    def require(self, *names: str) -> None:
        """Refuses models that lack a function.

        Raises:
          UserError: names what is missing.
        """
        missing = [name for name in names if name not in self._functions]
        if missing:
            raise UserError(
                f"The models in {self._path} cannot {', '.join(missing)}: a stage was not trained when they were "
                "exported. Train it and export again."
            )

    @property
    def translate_labels(self) -> bool:
        """Whether `translate` takes a lesion label."""
        return "label" in self._wanted("translate")

    def translate(self, slices: Mapping[str, np.ndarray], target: str, label: np.ndarray | None = None) -> np.ndarray:
        """Translates slices of any modalities to another modality.

        Args:
          slices: registered slices by modality, in [0, 1]; at least one modality, the others may be missing.
          target: modality to translate to.
          label: uint8 [N, H, W], classes; required if `translate_labels`.

        Returns:
          [N, H, W] in [0, 1], 0 outside the head.
        """
        images = self._channels(slices)
        inputs = {"images": images, "target": np.full(len(images), self.data.modalities.index(target), np.int32)}
        if self.translate_labels:
            inputs["label"] = label[..., None]
        # Each given slice goes through the networks on its own.
        return self._run("translate", inputs, max(1, _BATCH_SIZE // len(slices)))["image"][..., 0]

    @property
    def joint(self) -> bool:
        """Whether there is a joint segmenter."""
        return "segment" in self._functions

    @property
    def segmented_slices(self) -> tuple[int, ...]:
        """Start, stop and step of the slices that the segmenter was trained on, of volumes with voxels of `data`."""
        stages = self._metadata["stages"]
        stage = stages.get(constants.JOINT) or stages.get(constants.SEGMENTATION)
        return tuple(stage["config"]["data"]["slices"]) if stage else self.data.slices

    def segment(self, slices: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities of the classes, [N, H, W, K], by the joint segmenter.

        Args:
          slices: registered slices by modality, in [0, 1]; at least one modality, the others may be missing.
        """
        return self._run("segment", {"images": self._channels(slices)})["probabilities"]

    def segment_one(self, slices: np.ndarray, modality: str) -> np.ndarray:
        """Probabilities of the classes, [N, H, W, K], by the segmenter of a modality."""
        return self._run(f"segment_{modality}", {"image": slices[..., None]})["probabilities"]

    def sample_structure(self, codes: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decodes latent codes to the probabilities of an edge and of background.

        Args:
          codes: [N, L], standard normal.
          positions: [N], along the head; ignored unless `takes_position`.

        Returns:
          Two of [N, H, W].
        """
        inputs = {"code": codes.astype(np.float32)}
        if self.takes_position:
            inputs["position"] = positions.astype(np.float32)
        maps = self._run("sample_structure", inputs)
        return maps["structure"][..., 0], maps["background"][..., 0]

    def synthesize(
        self, structure: np.ndarray, background: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Synthesises all modalities from the maps and labels of one volume.

        Args:
          structure: [N, H, W], binary.
          background: [N, H, W], binary, 1 outside the head.
          label: uint8 [N, H, W], classes.
          rng: draws the noise and the contrast code that some models take.

        Returns:
          [N, H, W] in [0, 1] by modality, 0 outside the head.
        """
        inputs = {"structure": structure, "background": background, "label": label}
        inputs = {name: value[..., None] for name, value in inputs.items()}
        wanted = self._wanted("synthesize")
        # All slices share one draw, so that they differ by their maps only.
        if "noise" in wanted:
            inputs["noise"] = _for_all(rng.random(structure.shape[1:], np.float32)[..., None], len(structure))
        if "contrast" in wanted:
            contrast = rng.standard_normal(wanted["contrast"]["shape"][1:], np.float32)
            inputs["contrast"] = _for_all(np.clip(contrast, -2.0, 2.0), len(structure))
        made = self._run("synthesize", inputs)
        return {modality: made[modality][..., 0] for modality in self.data.modalities}

    def _channels(self, slices: Mapping[str, np.ndarray]) -> np.ndarray:
        """Slices by modality as float32 [N, H, W, n], 0 where a modality is missing."""
        missing = np.zeros_like(next(iter(slices.values())))
        return np.stack([slices.get(modality, missing) for modality in self.data.modalities], axis=-1)

    def _wanted(self, name: str) -> Mapping[str, Mapping]:
        """The inputs that a function takes, with their shapes."""
        return self._metadata["signatures"][name]["inputs"]

    def _run(self, name: str, inputs: Mapping[str, np.ndarray], batch_size: int = _BATCH_SIZE) -> dict[str, np.ndarray]:
        self.require(name)
        count, parts = len(next(iter(inputs.values()))), []
        for start in tqdm.trange(0, count, batch_size, desc=name, unit="batch", leave=False, disable=None):
            batch = {key: tf.constant(value[start : start + batch_size]) for key, value in inputs.items()}
            parts.append({key: np.asarray(value) for key, value in self._functions[name](**batch).items()})
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _for_all(value: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(value[None], count, axis=0)
