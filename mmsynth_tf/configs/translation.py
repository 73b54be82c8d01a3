"""Settings of translations with trained models (method §6). No training depends on them. No TensorFlow here."""

import dataclasses

from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class TranslationConfig:
    """How a patient's slice is translated.

    Raises:
      UserError: a share is below 0 or above 1.
    """

    map_share: float = setting(
        0.95,
        "Share of features of the structure map and lesion (from the label, or found by segmenters); the rest are "
        "features of the source slice. Paper: 0.",
    )
    guide_share: float = setting(
        0.7,
        "Outside lesions, share of the translation after a guided filter (He et al. 2013) that takes fine anatomy from "
        "the source slice; the rest is the translation itself. Paper: 0.",
    )

    def __post_init__(self):
        for name in ("map_share", "guide_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"translation.{name} ({getattr(self, name):g}) must lie between 0 and 1.")
