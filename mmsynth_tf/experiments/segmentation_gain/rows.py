"""The training sets that are compared."""

import dataclasses
from collections.abc import Collection, Iterable

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.segmentation_gain import training

PASTED_LESIONS, PAINTED_LESIONS, NOISE, MADE = "pasted lesions", "painted lesions", "slices from noise", "made lesions"
# Kinds that need no set, because the experiment draws such slices from the training patients itself.
DRAWN = {PASTED_LESIONS: constants.PASTED, PAINTED_LESIONS: constants.PAINTED}


def kind_of(data: prepared.PreparedData) -> str:
    """The kind of slices of a synthetic set."""
    generation = data.record["generation"]
    for kind, recorded in DRAWN.items():
        if prepared.lesion_kind(generation) == recorded:
            return kind
    return MADE if prepared.has_real_anatomy(generation) else NOISE


@dataclasses.dataclass(frozen=True)
class Row:
    """One training set.

    Attributes:
      name: for command lines and records.
      real: whether it contains the patients' real slices.
      further: the kind of the other slices in each batch, if any.
      augmentation: as for `training.train`.
    """

    name: str
    real: bool = True
    further: str | None = None
    augmentation: str = training.STRONG


BASE = Row("real_strong")
# In the order of measurement, the most important rows first.
ROWS = (
    BASE,
    Row("pasted", further=PASTED_LESIONS),
    Row("painted", further=PAINTED_LESIONS),
    Row("real_weak", augmentation=training.WEAK),
    Row("real", augmentation=training.NONE),
)
SYNTHETIC_ROWS = (
    Row("noise", real=False, further=NOISE),
    Row("real_noise", further=NOISE),
    Row("real_made", further=MADE),
)
CURVE_ROWS = (*ROWS[:3], SYNTHETIC_ROWS[2], SYNTHETIC_ROWS[1], SYNTHETIC_ROWS[0])
NAMES = tuple(row.name for row in ROWS + SYNTHETIC_ROWS)


def named(rows: Iterable[Row], names: Collection[str]) -> tuple[Row, ...]:
    """The rows with these names, in the order of `rows`.

    Raises:
      UserError: there is no row of a name.
    """
    known = {row.name: row for row in rows}
    if unknown := sorted(set(names) - set(known)):
        raise UserError(f"No such row: {', '.join(unknown)}. The rows are {', '.join(known)}.")
    return tuple(row for name, row in known.items() if name in names)
