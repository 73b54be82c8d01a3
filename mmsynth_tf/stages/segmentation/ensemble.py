"""What the segmenters of several modalities find together."""

from collections.abc import Sequence

import numpy as np

# A lesion is one, too, if not all modalities show it: T1 hardly shows oedema. Chosen on validation patients.
BACKGROUND_WEIGHT = 0.4


def scores(probabilities: Sequence[np.ndarray], background_weight: float | None = None) -> np.ndarray:
    """Sums the probabilities of classes; the class with the highest sum is what the modalities find together.

    Args:
      probabilities: of each modality, float32 [..., K], class 0 is background; 0 where a modality shows nothing.
      background_weight: what the probability of background counts; by default 0.4, but 1 where a single modality
        shows something.

    Returns:
      float32 [..., K].
    """
    total = np.sum(probabilities, axis=0)
    if background_weight is None:
        # The probabilities of each modality that shows something sum up to 1.
        several = total.sum(axis=-1) > 1.5
        background_weight = np.where(several, np.float32(BACKGROUND_WEIGHT), np.float32(1.0))
    total[..., 0] *= background_weight
    return total
