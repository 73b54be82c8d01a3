"""What the settings of all training stages have in common. No TensorFlow here."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from mmsynth_tf.errors import UserError

Choices = TypeVar("Choices")

FORMULATION_HELP = "measured: the choices that measured best; paper: the draft's formulas, literally."


def chosen(formulations: Mapping[str, Choices], name: str) -> Choices:
    """The choices of a stage's formulation.

    Raises:
      UserError: the stage has no formulation of that name.
    """
    if name not in formulations:
        raise UserError(f"There is no formulation {name!r}; choose one of {', '.join(formulations)}.")
    return formulations[name]


def weights_by_group(weights: Any) -> dict[str, dict[str, float]]:
    """What each group of networks is trained by.

    Args:
      weights: a dataclass of loss weights, each declared by `setting(..., trains=group)`.

    Returns:
      {group: {term: weight}}, in the order of the fields. A term of weight 0 is left out, so it is not computed.
    """
    groups: dict[str, dict[str, float]] = {}
    for field in dataclasses.fields(weights):
        terms = groups.setdefault(field.metadata["trains"], {})
        if weight := getattr(weights, field.name):
            terms[field.name] = weight
    return groups


class StageConfig:
    """What the settings of all stages have in common.

    A stage that the paper has, too, has a frozen dataclass of choices, and a dictionary of formulations that holds one
    for each name. A formulation takes the place of switches that are only turned together.
    """

    steps: int
    batch_size: int

    def require_consistent(self, replicas: int) -> None:
        """Refuses settings that do not go together.

        Args:
          replicas: devices that share a batch.

        Raises:
          UserError: a replica would get no or fewer slices, or a setting lacks what it builds on.
        """
        if self.batch_size % replicas:
            raise UserError(
                f"batch_size ({self.batch_size}) must be a multiple of the number of devices ({replicas}); "
                "change it, or hide devices with CUDA_VISIBLE_DEVICES."
            )
