"""The registered slices of patients, and the sets of modalities that translations are given."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from mmsynth_tf import prepared


@dataclasses.dataclass(frozen=True)
class Volume:
    """The registered slices of a patient.

    Attributes:
      case_id: from the data set.
      images: float32 [D, n, H, W, 1] in [0, 1].
      available: bool [D, n], whether a slice has a modality.
      label: uint8 [D, H, W]; None if the case has no label.
    """

    case_id: str
    images: np.ndarray
    available: np.ndarray
    label: np.ndarray | None

    @property
    def whole(self) -> bool:
        """Whether the patient has a label and all modalities; at the ends of the head some may be blank."""
        return self.label is not None and bool(self.available.any(axis=0).all())


def volumes(data: prepared.PreparedData, split: str) -> Iterator[Volume]:
    """Reads the cases of a split, one at a time."""
    for case_id in data.cases[split]:
        own = data.slices(split).filter(lambda x, case_id=case_id: x["case_id"] == case_id)
        # The files may not hold the slices of a case in sequence.
        examples = sorted(own.as_numpy_iterator(), key=lambda x: x["slice_index"])
        if examples:
            yield _volume(case_id, examples)


def _volume(case_id: str, examples: Sequence[dict]) -> Volume:
    image, available, label = (np.stack([x[name] for x in examples]) for name in ("image", "available", "label"))
    return Volume(case_id, image.astype(np.float32), available, label[..., 0] if examples[0]["has_label"] else None)


def tasks(count: int) -> list[tuple[tuple[int, ...], int]]:
    """Sources and target of all measured translations, sorted by target and number of sources.

    Sources are single modalities, all pairs, and all modalities but the target.
    """
    numbers = sorted({1, 2, count - 1} & set(range(1, count)))
    return [
        (sources, target)
        for target in range(count)
        for number in numbers
        for sources in itertools.combinations([index for index in range(count) if index != target], number)
    ]


def only(images: np.ndarray, modalities: Sequence[int]) -> np.ndarray:
    """Slices [D, n, H, W, 1] with 0 in the place of all other modalities."""
    kept = np.zeros(images.shape[1], images.dtype)
    kept[list(modalities)] = 1
    return images * kept[:, None, None, None]
