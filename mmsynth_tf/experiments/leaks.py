"""Refuses experiments whose test patients took part in a training."""

import logging
from collections.abc import Iterable

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.scoring import patients_of

_log = logging.getLogger(__name__)


class LeakError(UserError):
    """Test patients were seen in training."""


def refuse_leak(trained_on: Iterable[dict], test: prepared.PreparedData, split: str) -> None:
    """Refuses to test on patients that the models have seen, themselves or through synthetic data.

    Args:
      trained_on: the records (data_set.json) of the data sets that the models were trained on.
      test: the data set to test on.
      split: its split.

    Raises:
      LeakError: names the patients.
    """
    shared = sorted(seen_patients(trained_on) & patients_of(test.record, split))
    if shared and test.record["source"] != "synthetic":
        raise LeakError(
            f"{len(shared)} patients of the {split!r} split of {test.path} were trained on ({', '.join(shared[:5])}…). "
            "Build both sets with the same data.split_seed and fractions, or give other patients."
        )


def warn_of_other_training_patients(trained_on: Iterable[dict], real: prepared.PreparedData) -> None:
    """Warns if what experiments train on is not what the models were trained on: --train_data may be missing.

    Args:
      trained_on: as of `refuse_leak`.
      real: the data set whose train split experiments are about to train on and compare with.
    """
    seen, here = seen_patients(trained_on), patients_of(real.record, "train")
    if seen and here and not seen & here:
        _log.warning(
            "None of the %d training patients of %s is one of those that the models were trained on. If patients kept "
            "apart are to be tested on, name the data set that was trained on with --train_data.",
            len(here),
            real.path,
        )


def seen_patients(data_records: Iterable[dict]) -> set[str]:
    """Patients of the training splits, and of those that the makers of synthetic slices were trained on."""
    seen = set()
    for record in data_records:
        if record["source"] == "synthetic":
            generation = record["generation"]
            makers = [maker for stage in generation["trained_on"].values() for maker in stage]
            seen |= seen_patients([*makers, generation["labels_from"]])
        else:
            seen |= patients_of(record, "train")
    return seen
