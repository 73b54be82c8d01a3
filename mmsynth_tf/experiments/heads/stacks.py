"""Stacks of structure maps along a head: of patients, and made from one code."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.slice_sets import SliceSet, maps_of
from mmsynth_tf.stages.structure.gan import StructureGAN

# A stack of fewer slices says nothing of how neighbours agree.
_FEWEST_SLICES = 3


@dataclasses.dataclass(frozen=True)
class Stack:
    """Maps along one head.

    Attributes:
      case: the patient's case, or that whose positions a made stack has.
      modality: that gives the maps.
      positions: float32 [Z], rising, in [0, 1].
      structure: bool [Z, H, W], edges within the head.
      head: bool [Z, H, W].
    """

    case: str
    modality: str
    positions: np.ndarray
    structure: np.ndarray
    head: np.ndarray


def real_stacks(source: SliceSet, settings: configs.StructureMapConfig) -> list[Stack]:
    """A stack for each case and modality, of the slices that show the head.

    Raises:
      PreparedDataError: the slices have no positions.
      UserError: no case has enough such slices.
    """
    prepared.require_features(source.slices(), ("position",))
    slices = collections.defaultdict(list)
    for batch in source.batches():
        maps, modalities = maps_of(batch, settings), source.data.config.modalities
        for row, index in np.argwhere(batch["available"]):
            position = batch["position"][row]
            if 0 <= position <= 1:
                of_slice = position, maps.structure[row, index], maps.head[row, index]
                slices[batch["case_id"][row].decode(), modalities[index]].append(of_slice)
    stacks = [Stack(*key, *_rising(found)) for key, found in sorted(slices.items()) if len(found) >= _FEWEST_SLICES]
    if not stacks:
        raise UserError(
            f"No case in the {source.split!r} split of {source.data.path} has {_FEWEST_SLICES} slices that show the "
            "head. Build the set with more slices (--config.data.slices)."
        )
    return stacks


def _rising(slices: Sequence[tuple[float, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Positions and maps in the order of the positions."""
    positions, structure, head = (np.stack(column) for column in zip(*slices, strict=True))
    order = np.argsort(positions)
    return positions[order], structure[order], head[order]


def made_stacks(gan: StructureGAN, stacks: Sequence[Stack], seed: int) -> list[Stack]:
    """A stack from one code at the positions of each given one; stack i depends on the seed, i and its positions."""
    made = []
    for number, stack in enumerate(stacks):
        code = tf.random.stateless_normal([1, gan.code_dim], [seed, number])
        codes = tf.repeat(code, len(stack.positions), axis=0)
        structure, background = (
            maps.numpy()[..., 0] > 0 for maps in gan.sample_binary(codes, tf.constant(stack.positions))
        )
        made.append(dataclasses.replace(stack, structure=structure & ~background, head=~background))
    return made
