"""Registered slices in memory, and the folds that their patients fall in."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Slices:
    """Labelled slices.

    Attributes:
      image: float16 [N, H, W, n] in [0, 1]; a modality that is missing is 0.
      label: uint8 [N, H, W].
      case: N texts.
      patient: N texts.
      number: int64 [N], place in the volume.
    """

    image: np.ndarray
    label: np.ndarray
    case: np.ndarray
    patient: np.ndarray
    number: np.ndarray

    def of(self, patients: Collection[str]) -> "Slices":
        """Those of some patients, in the order of their cases and places."""
        chosen = np.flatnonzero(np.isin(self.patient, list(patients)))
        chosen = chosen[np.lexsort((self.number[chosen], self.case[chosen]))]
        return Slices(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


def read_slices(data: prepared.PreparedData, splits: Iterable[str] | None = None) -> Slices:
    """Reads all labelled slices of a set.

    Args:
      data: the set.
      splits: those to read; all that have cases if not given.

    Raises:
      UserError: there is none.
    """
    names = splits or [split for split, cases in data.cases.items() if cases]
    found = [x for name in names for x in data.slices(name).as_numpy_iterator() if x["has_label"]]
    if not found:
        raise UserError(f"{data.path} has no labelled slices; give a set of labelled patients.")
    cases = [x["case_id"].decode() for x in found]
    patients = data.record.get("patients", {})
    return Slices(
        image=np.stack([np.moveaxis(x["image"][..., 0], 0, -1) for x in found]).astype(np.float16),
        label=np.stack([x["label"][..., 0] for x in found]),
        case=np.array(cases),
        patient=np.array([patients.get(case, case) for case in cases]),
        number=np.array([x["slice_index"] for x in found], np.int64),
    )


@dataclasses.dataclass(frozen=True)
class Fold:
    """Patients of one fold.

    Attributes:
      number: from 0.
      training: segmenters and generators learn from them.
      tested: segmenters are scored on them.
      kept_apart: neither segmenters nor generators may have seen them; `tested` among them.
    """

    number: int
    training: frozenset[str]
    tested: frozenset[str]
    kept_apart: frozenset[str]


def folds(patients: Iterable[str], count: int, split: str) -> list[Fold]:
    """Deals patients into folds; every one is tested once.

    For `split` "validation" the patients of the next fold are tested, and those of the fold itself take no part: what
    is decided so has not seen them.

    Args:
      patients: names, repeated or not.
      count: number of folds.
      split: "test" or "validation".

    Raises:
      UserError: there are too few patients, or the split is another.
    """
    names = sorted(set(patients))
    needed = count + (split == "validation")
    if len(names) < needed:
        raise UserError(f"{len(names)} patients are too few for {count} folds; give at least {needed}.")
    if split not in ("test", "validation"):
        raise UserError(f"Folds have no {split!r} split; choose test or validation.")
    order = np.random.default_rng(0).permutation(names).tolist()
    parts = [frozenset(order[number::count]) for number in range(count)]
    result = []
    for number, outer in enumerate(parts):
        tested = outer if split == "test" else parts[(number + 1) % count]
        result.append(Fold(number, frozenset(names) - outer - tested, tested, outer | tested))
    return result


def prevalence(label: np.ndarray, regions: Mapping[str, Collection[int]]) -> dict[str, float]:
    """Share of slices [N, H, W] that show each region."""
    return {name: float(np.isin(label, list(values)).any(axis=(1, 2)).mean()) for name, values in regions.items()}
