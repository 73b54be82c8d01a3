"""Combines the segmentations of several modalities."""

from collections.abc import Sequence

import numpy as np

# Weight of the background class. Below 1, because not every modality shows every lesion: T1 hardly shows oedema.
# Chosen on validation patients.
BACKGROUND_WEIGHT = 0.4


def scores(probabilities: Sequence[np.ndarray], background_weight: float | None = None) -> np.ndarray:
    """Sums the class probabilities over the modalities; the class with the highest sum is the ensemble's prediction.

    Args:
      probabilities: of each modality, float32 [..., K], class 0 is background; all 0 where the modality is missing.
      background_weight: weight of the background probability; by default 0.4, or 1 where only one modality is present.

    Returns:
      float32 [..., K].
    """
    total = np.sum(probabilities, axis=0)
    if background_weight is None:
        # The probabilities of each modality that is present sum to 1.
        several = total.sum(axis=-1) > 1.5
        background_weight = np.where(several, np.float32(BACKGROUND_WEIGHT), np.float32(1.0))
    total[..., 0] *= background_weight
    return total
