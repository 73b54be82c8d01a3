"""Splits cases into training, validation and test sets, by patient."""

from collections.abc import Mapping

import numpy as np

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split_by_patient(patients: Mapping[str, str], data: DataConfig) -> dict[str, list[str]]:
    """Draws the split; all cases (time points) of a patient are in the same set.

    A set with a share above 0 gets at least one patient. So does training,
    unless the other shares sum to 1.

    Args:
      patients: case id to patient id.
      data: shares and seed.

    Returns:
      {"train": case ids, "validation": case ids, "test": case ids}, each sorted; sets may be empty.

    Raises:
      UserError: the shares are invalid, or the sets need more patients.
    """
    shares = {TEST: data.test_fraction, VALIDATION: data.validation_fraction}
    if min(shares.values()) < 0 or sum(shares.values()) > 1:
        raise UserError(f"test_fraction and validation_fraction must lie in [0, 1] together, not {shares}.")
    names = sorted(set(patients.values()))
    counts = {split: max(round(share * len(names)), 1) if share else 0 for split, share in shares.items()}
    needed = sum(counts.values()) + (sum(shares.values()) < 1)
    if needed > len(names):
        raise UserError(
            f"{len(names)} patients are too few for shares {shares}: {needed} are needed. "
            "Add cases, or set --config.data.test_fraction and --config.data.validation_fraction."
        )
    order = np.random.default_rng(data.split_seed).permutation(names).tolist()
    bounds = counts[TEST], counts[TEST] + counts[VALIDATION]
    members = {TEST: order[: bounds[0]], VALIDATION: order[bounds[0] : bounds[1]], TRAIN: order[bounds[1] :]}
    return {
        split: sorted(case for case, patient in patients.items() if patient in set(members[split]))
        for split in (TRAIN, VALIDATION, TEST)
    }
