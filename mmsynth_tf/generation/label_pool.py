"""Real labels that synthetic slices draw from."""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from mmsynth_tf import prepared


@dataclasses.dataclass(frozen=True)
class LabelPool:
    """Labels of real slices.

    Attributes:
      labels: uint8 [N, H, W, 1].
      sources: N texts, case id and slice index.
    """

    labels: tf.Tensor
    sources: list[str]

    @classmethod
    def of(cls, data: prepared.PreparedData) -> "LabelPool":
        """The labels of a data set's training split.

        Raises:
          PreparedDataError: it has none.
        """
        wanted = ("has_label", "label", "case_id", "slice_index")
        slices = data.slices("train").map(lambda example: {name: example[name] for name in wanted})
        labelled = [e for e in slices.as_numpy_iterator() if e["has_label"]]
        if not labelled:
            raise prepared.PreparedDataError(
                f"No training slice of {data.path} has a label. Give a data set with labelled cases."
            )
        sources = [f"{e['case_id'].decode()}:{e['slice_index']}" for e in labelled]
        return cls(tf.constant(np.stack([e["label"] for e in labelled])), sources)

    def fingerprint(self) -> str:
        """SHA-256 of the labels, their sources and their order."""
        digest = hashlib.sha256("\n".join(self.sources).encode())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()
