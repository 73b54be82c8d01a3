"""Real labels and positions that synthetic slices draw from."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import prepared

# A map's label is drawn from this share of all labels, those nearest along the head. Lesions then have sizes that occur
# at this height.
_SAME_HEIGHT = 0.2


@dataclasses.dataclass(frozen=True)
class LabelPool:
    """Labels of real slices, and where in their heads the slices lie.

    Attributes:
      labels: uint8 [N, H, W, 1].
      sources: N texts, case id and slice index.
      positions: float32 [N], see `slicing.slice_examples`.
    """

    labels: tf.Tensor
    sources: list[str]
    positions: np.ndarray

    @classmethod
    def of(cls, data: prepared.PreparedData) -> "LabelPool":
        """The labels of a data set's training split.

        Raises:
          PreparedDataError: it has none, or no positions.
        """
        wanted = ("has_label", "label", "case_id", "slice_index", "position")
        slices = data.slices("train")
        prepared.require_features(slices, wanted)
        slices = slices.map(lambda example: {name: example[name] for name in wanted})
        labelled = [e for e in slices.as_numpy_iterator() if e["has_label"]]
        if not labelled:
            raise prepared.PreparedDataError(
                f"No training slice of {data.path} has a label. Give a data set with labelled cases."
            )
        return cls.of_examples(labelled)

    @classmethod
    def of_examples(cls, examples: Sequence[Mapping[str, Any]]) -> "LabelPool":
        """The labels of some examples of `PreparedData.slices`, as NumPy values, in their order."""
        sources = [f"{e['case_id'].decode()}:{e['slice_index']}" for e in examples]
        labels, positions = (np.stack([e[name] for e in examples]) for name in ("label", "position"))
        return cls(tf.constant(labels), sources, positions)

    def near(self, positions: np.ndarray, chances: np.ndarray) -> np.ndarray:
        """Draws labels of slices at about the given heights: indices, int64 [B, k].

        Args:
          positions: [B], along the head.
          chances: [B, k] in [0, 1), uniform.
        """
        order = np.argsort(self.positions, kind="stable")
        count = max(1, round(_SAME_HEIGHT * len(order)))
        middle = np.searchsorted(self.positions[order], positions)
        first = np.clip(middle - count // 2, 0, len(order) - count)
        return order[first[:, None] + (chances * count).astype(np.int64)]

    @property
    def head_positions(self) -> np.ndarray:
        """Positions of the slices that show a head: float32 in [0, 1]."""
        return self.positions[(self.positions >= 0) & (self.positions <= 1)]

    def fingerprint(self) -> str:
        """SHA-256 of the labels, their sources, positions and order."""
        digest = hashlib.sha256("\n".join(self.sources).encode())
        digest.update(self.labels.numpy().tobytes())
        digest.update(self.positions.tobytes())
        return digest.hexdigest()
