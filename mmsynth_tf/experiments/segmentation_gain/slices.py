"""Registered slices in memory, and the cross-validation folds of their patients."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.splits import patient_folds


@dataclasses.dataclass(frozen=True)
class Slices:
    """Labelled slices.

    Attributes:
      image: float16 [N, H, W, n] in [0, 1]; a missing modality is 0.
      label: uint8 [N, H, W].
      case: N case ids.
      patient: N patient ids.
      number: int64 [N], slice index in the volume.
      position: float32 [N], along the head, see `slicing.slice_examples`.
    """

    image: np.ndarray
    label: np.ndarray
    case: np.ndarray
    patient: np.ndarray
    number: np.ndarray
    position: np.ndarray

    def of(self, patients: Collection[str]) -> "Slices":
        """The slices of some patients, ordered by case and slice index."""
        chosen = np.flatnonzero(np.isin(self.patient, list(patients)))
        chosen = chosen[np.lexsort((self.number[chosen], self.case[chosen]))]
        return Slices(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


def read_slices(data: prepared.PreparedData, splits: Iterable[str] | None = None) -> Slices:
    """Reads all labelled slices of a set.

    Args:
      data: the data set.
      splits: the splits to read; by default all that have cases.

    Raises:
      UserError: there is no labelled slice.
      PreparedDataError: slices have no positions.
    """
    names = splits or [split for split, cases in data.cases.items() if cases]
    sets = [data.slices(name) for name in names]
    for one in sets:
        prepared.require_features(one, ("position",))
    found = [x for one in sets for x in one.as_numpy_iterator() if x["has_label"]]
    if not found:
        raise UserError(f"{data.path} has no labelled slices. Give a set of labelled patients.")
    cases = [x["case_id"].decode() for x in found]
    patients = data.record.get("patients", {})
    return Slices(
        image=np.stack([np.moveaxis(x["image"][..., 0], 0, -1) for x in found]).astype(np.float16),
        label=np.stack([x["label"][..., 0] for x in found]),
        case=np.array(cases),
        patient=np.array([patients.get(case, case) for case in cases]),
        number=np.array([x["slice_index"] for x in found], np.int64),
        position=np.array([x["position"] for x in found], np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Fold:
    """Patients of one fold.

    Attributes:
      number: from 0.
      training: patients that segmenters and generators are trained on.
      tested: patients that segmenters are scored on.
      kept_apart: patients excluded from all training; includes `tested`.
    """

    number: int
    training: frozenset[str]
    tested: frozenset[str]
    kept_apart: frozenset[str]


def folds(patients: Iterable[str], split: str) -> list[Fold]:
    """Assigns patients to folds; every patient is tested once.

    For `split` "validation" the patients of the next fold are tested. Those of the fold itself are not used, so design
    decisions do not depend on them.

    Args:
      patients: patient ids, repeated or not.
      split: "test" or "validation".

    Raises:
      UserError: there are too few patients, or the split is neither "test" nor "validation".
    """
    if split not in ("test", "validation"):
        raise UserError(f"Folds have no {split!r} split; choose test or validation.")
    names = frozenset(patients)
    parts = [frozenset(part) for part in patient_folds(names)]
    result = []
    for number, outer in enumerate(parts):
        tested = outer if split == "test" else parts[(number + 1) % len(parts)]
        result.append(Fold(number, names - outer - tested, tested, outer | tested))
    return result


def prevalence(label: np.ndarray, regions: Mapping[str, Collection[int]]) -> dict[str, float]:
    """Fraction of slices [N, H, W] that show each region."""
    return {name: float(np.isin(label, list(values)).any(axis=(1, 2)).mean()) for name, values in regions.items()}
