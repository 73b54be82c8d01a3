"""Splits cases into training, validation and test sets, by patient."""

from collections.abc import Iterable, Mapping

import numpy as np

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
FOLDS = 5


def patient_folds(patients: Iterable[str]) -> list[list[str]]:
    """Assigns patients to the folds of a cross-validation; the assignment follows from the patient ids alone.

    Args:
      patients: patient ids, repeated or not.

    Returns:
      `FOLDS` lists of patient ids.

    Raises:
      UserError: there are fewer patients than folds.
    """
    names = sorted(set(patients))
    if len(names) < FOLDS:
        raise UserError(f"{len(names)} patients are too few for {FOLDS} folds; give at least {FOLDS}.")
    order = np.random.default_rng(0).permutation(names).tolist()
    return [order[number::FOLDS] for number in range(FOLDS)]


def subset(patients: Iterable[str], fold: int, count: int) -> list[str]:
    """Draws some of a fold's training patients; smaller subsets lie in larger ones.

    Args:
      patients: ids of all patients outside the fold.
      fold: number of the fold, from 0; each has an order of its own.
      count: number of patients.

    Raises:
      UserError: there are fewer patients.
    """
    names = sorted(set(patients))
    if count > len(names):
        raise UserError(f"Fold {fold} has {len(names)} training patients, fewer than {count}. Ask for fewer.")
    return np.random.default_rng([fold, 1]).permutation(names).tolist()[:count]


def split_by_fold(
    patients: Mapping[str, str], data: DataConfig, fold: int, train_patients: int | None = None
) -> dict[str, list[str]]:
    """Split of one fold of the cross-validation: the patients of the fold are the test set.

    Validation patients are those of the next fold first, so that `data.validation_fraction` of 0.25 covers that fold.
    With `train_patients`, a `subset` of that size is trained on; there is no validation set, and all others are left
    out.

    Args:
      patients: case id to patient id.
      data: share of the validation patients.
      fold: number of the fold, from 0.
      train_patients: size of the subset; None for all.

    Returns:
      {"train": case ids, "validation": case ids, "test": case ids}, each sorted; validation may be empty.

    Raises:
      UserError: there are too few patients, or no training patient is left.
    """
    parts = patient_folds(patients.values())
    rest = [name for part in parts[fold + 1 :] + parts[:fold] for name in part]
    if train_patients is not None:
        members = {TEST: parts[fold], VALIDATION: [], TRAIN: subset(rest, fold, train_patients)}
        return _cases_by_split(patients, members)
    share = data.validation_fraction
    count = max(round(share * len(set(patients.values()))), 1) if share else 0
    if not 0 <= count < len(rest):
        raise UserError(
            f"data.validation_fraction is {share}: of {len(rest)} patients outside the fold, {count} would validate. "
            "Set --config.data.validation_fraction to a share that leaves patients for training."
        )
    return _cases_by_split(patients, {TEST: parts[fold], VALIDATION: rest[:count], TRAIN: rest[count:]})


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
        raise UserError(
            f"data.test_fraction and data.validation_fraction must be 0 or more, with a sum of 1 at most, not {shares}."
        )
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
    return _cases_by_split(patients, members)


def _cases_by_split(patients: Mapping[str, str], members: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {
        split: sorted(case for case, patient in patients.items() if patient in set(members[split]))
        for split in (TRAIN, VALIDATION, TEST)
    }
