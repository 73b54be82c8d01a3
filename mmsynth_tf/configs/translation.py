"""Settings of translations with trained models (method §6). No training depends on them. No TensorFlow here."""

import dataclasses

from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class TranslationConfig:
    """How a patient's slice is translated.

    Raises:
      UserError: a share is not one.
    """

    map_share: float = setting(
        0.95,
        "A slice's own features are mixed with those of its structure map and of the lesion that segmenters find in it "
        "(or of its label); this is the share of the latter. Paper: 0.",
    )
    guide_share: float = setting(
        0.7,
        "Outside of lesions translated slices take fine anatomy from the given slice: this share of the result is "
        "the translation after a guided filter (He et al. 2013) by the given slice. Paper: 0.",
    )

    def __post_init__(self):
        for name in ("map_share", "guide_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"translation.{name} ({getattr(self, name):g}) must lie between 0 and 1.")
