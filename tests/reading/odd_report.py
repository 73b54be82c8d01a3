"""A public report of an input, and of a setting, that a program of this field gets wrong."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mmsynth_tf.reading.cases import Case
from tests.reading.odd_case import Odd

# Values of the Decathlon tell no necrosis from other non-enhancing tumour: class 1 of the valid case becomes 3.
DECATHLON_CLASSES = np.array([0, 3, 2, 3, 4])


def same_images(valid: Case, found: Case) -> bool:
    """Whether the intensities are those of the valid case, in the unit of its files."""
    return all(np.allclose(found.images[m], valid.images[m], rtol=1e-6, atol=1e-3) for m in valid.images)


def same_voxels(valid: Case, found: Case) -> bool:
    return same_images(valid, found) and np.array_equal(found.label, valid.label)


def only_enhancing_tumour(valid: Case, found: Case) -> bool:
    return same_images(valid, found) and np.array_equal(found.label, np.where(valid.label == 4, 4, 0))


def classes_of_decathlon(valid: Case, found: Case) -> bool:
    return np.array_equal(found.label, DECATHLON_CLASSES[valid.label])


@dataclasses.dataclass(frozen=True)
class Report:
    """A public report, its situation run here, and what holds if it is read."""

    source: str  # Path on github.com.
    fault: str  # What goes wrong there.
    odd: Odd  # Its name says what is run here.
    holds: Callable[[Case, Case], bool] = same_voxels  # Compares the valid case with what was read.
    patients: Mapping[str, str] | None = None  # Patient of each case.
    needs_itk: bool = False

    @property
    def name(self) -> str:
        """As in `MIC-DKFZ/nnUNet#1777`."""
        owner, repository, _, number = self.source.split("/")
        return f"{owner}/{repository}#{number}"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A public report of what a user's settings for Keras do; here they change nothing."""

    source: str
    fault: str
    run: str
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keras_file: Mapping[str, str] | None = None

    name = Report.name
