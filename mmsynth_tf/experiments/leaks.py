"""Refuses experiments whose test patients were used in training."""

import logging
from collections.abc import Iterable

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.scoring import patients_of

_log = logging.getLogger(__name__)


class LeakError(UserError):
    """Test patients were used in training."""


def refuse_leak(trained_on: Iterable[dict], test: prepared.PreparedData, split: str) -> None:
    """Refuses to test on patients that were used in training, directly or through synthetic data.

    Args:
      trained_on: the records (data_set.json) of the models' training sets.
      test: the data set to test on.
      split: the split to test on.

    Raises:
      LeakError: test patients were used in training; the message names them.
    """
    shared = sorted(seen_patients(trained_on) & patients_of(test.record, split))
    if shared and test.record["source"] != "synthetic":
        names = ", ".join(shared[:5]) + ("…" if len(shared) > 5 else "")
        raise LeakError(
            f"The models were trained on {len(shared)} patients of the {split!r} split of {test.path} ({names}). Build "
            "both sets with the same data.split_seed and fractions, or test on other patients."
        )


def warn_of_other_training_patients(trained_on: Iterable[dict], real: prepared.PreparedData) -> None:
    """Warns if experiments would train on other patients than the models did: --train_data may be missing.

    Args:
      trained_on: as for `refuse_leak`.
      real: the data set whose train split the experiments train on and compare with.
    """
    seen, here = seen_patients(trained_on), patients_of(real.record, "train")
    if seen and here and not seen & here:
        _log.warning(
            "The models were trained on none of the %d training patients of %s. If this set holds separate test "
            "patients, name the models' training set with --train_data.",
            len(here),
            real.path,
        )


def seen_patients(data_records: Iterable[dict]) -> set[str]:
    """Patients of the training splits, and the training patients of the generators of synthetic sets."""
    seen = set()
    for record in data_records:
        if record["source"] == "synthetic":
            generation = record["generation"]
            makers = [maker for stage in generation["trained_on"].values() for maker in stage]
            seen |= seen_patients([*makers, generation["labels_from"]])
        else:
            seen |= patients_of(record, "train")
    return seen
