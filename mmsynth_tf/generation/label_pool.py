"""Real labels and positions that synthetic slices draw from."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import prepared
from mmsynth_tf.generation import heads

_FEATURES = ("has_label", "label", "case_id", "slice_index", "position", "image")


@dataclasses.dataclass(frozen=True)
class LabelPool:
    """Labels of real slices, where in their heads the slices lie, and where the heads lie in the slices.

    Attributes:
      labels: uint8 [N, H, W, 1].
      sources: N texts, case id and slice index.
      positions: float32 [N], see `slicing.slice_examples`.
      frames: float32 [N, 4], see `heads.frame`.
    """

    labels: tf.Tensor
    sources: list[str]
    positions: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(cls, data: prepared.PreparedData) -> "LabelPool":
        """The labels of a data set's training split.

        Raises:
          PreparedDataError: it has none, or no positions.
        """
        slices = data.slices("train")
        prepared.require_features(slices, _FEATURES)
        labelled = [described(e) for e in slices.as_numpy_iterator() if e["has_label"]]
        if not labelled:
            raise prepared.PreparedDataError(
                f"No training slice of {data.path} has a label. Give a data set with labelled cases."
            )
        return cls.of_described(labelled)

    @classmethod
    def of_described(cls, examples: Sequence[Mapping[str, Any]]) -> "LabelPool":
        """The labels of some slices, as `described` gives them, in their order."""
        sources = [f"{e['case_id'].decode()}:{e['slice_index']}" for e in examples]
        labels, positions, frames = (np.stack([e[name] for e in examples]) for name in ("label", "position", "frame"))
        return cls(tf.constant(labels), sources, positions, frames)

    def near(self, positions: np.ndarray, chances: np.ndarray) -> np.ndarray:
        """Draws labels of slices at about the given heights: indices, int64 [B, k]; see `heads.near`."""
        return heads.near(self.positions, positions, chances)

    @property
    def head_positions(self) -> np.ndarray:
        """Positions of the slices that show a head: float32 in [0, 1]."""
        return self.positions[(self.positions >= 0) & (self.positions <= 1)]

    def patients(self, of_cases: Mapping[str, str]) -> list[str]:
        """The N patients of the slices, from the patient of each case; a case without one is a patient."""
        cases = [source.rpartition(":")[0] for source in self.sources]
        return [of_cases.get(case, case) for case in cases]

    def fingerprint(self) -> str:
        """SHA-256 of the labels, their sources, positions, frames and order."""
        digest = hashlib.sha256("\n".join(self.sources).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(self.positions.tobytes())
        digest.update(self.frames.tobytes())
        return digest.hexdigest()


def described(example: Mapping[str, Any]) -> dict[str, Any]:
    """What a pool keeps of an example of `PreparedData.slices`, as NumPy values."""
    kept = {name: example[name] for name in _FEATURES if name != "image"}
    return {**kept, "frame": heads.frame(heads.head_of(np.moveaxis(example["image"][..., 0], 0, -1)))}
