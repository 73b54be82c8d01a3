"""The training sets of the usability experiment: real, synthetic and augmented slices in 25 mixtures (method §8).

The unit of every fraction is the real training set: 1 is as many slices as it
has, whatever the slices are.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import input_pipeline, prepared
from mmsynth_tf.configs import Config
from mmsynth_tf.errors import UserError
from mmsynth_tf.stages.segmentation.stage import mixed_batches

REAL, SYNTHETIC, AUGMENTED = "real", "synthetic", "augmented"
RANDOM, REAL_FIRST, SYNTHETIC_FIRST = "random", "real first", "synthetic first"

# Which slices are drawn together, phase after phase.
_PHASES = {
    RANDOM: ((REAL, SYNTHETIC, AUGMENTED),),
    REAL_FIRST: ((REAL,), (SYNTHETIC,)),
    SYNTHETIC_FIRST: ((SYNTHETIC,), (REAL,)),
}


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One row of the paper's table.

    Attributes:
      name: for command lines, folders and records.
      real: fraction of the real training set.
      synthetic: synthetic slices, as a fraction of the real training set.
      augmented: randomly transformed real slices besides the real ones, likewise.
      order: `RANDOM` draws from all together; an ordered row learns from one kind, then from the other.
      real_share: share of an ordered row's steps that real slices get. As the authors' epochs have it, 10 % real slices
        after synthetic ones get 10 %: with half of the steps segmenters forget what they had learned before.
    """

    name: str
    real: float = 0.0
    synthetic: float = 0.0
    augmented: float = 0.0
    order: str = RANDOM
    real_share: float = 0.5

    def count(self, kind: str, whole: int) -> int:
        """Number of slices of a kind when the real training set has `whole`; at least one of what there is."""
        fraction = getattr(self, kind)
        return max(1, round(fraction * whole)) if fraction else 0


_PARTS = (0.2, 0.5, 0.8)
_MULTIPLES = (1, 2, 3)

BASELINE = Mixture("real_1", real=1)
MIXTURES = (
    BASELINE,
    Mixture("real_0.5", real=0.5),
    *(Mixture(f"synthetic_{n}", synthetic=n) for n in _MULTIPLES),
    *(
        Mixture(f"real_0.1_synthetic_{n}", real=0.1, synthetic=n, order=SYNTHETIC_FIRST, real_share=0.1)
        for n in _MULTIPLES
    ),
    Mixture("real_0.2_synthetic_0.8", real=0.2, synthetic=0.8),
    Mixture("real_0.5_synthetic_0.5", real=0.5, synthetic=0.5),
    Mixture("real_0.8_synthetic_0.2", real=0.8, synthetic=0.2),
    *(Mixture(f"real_1_synthetic_{n}", real=1, synthetic=n) for n in _PARTS + _MULTIPLES),
    Mixture("real_1_synthetic_1_real_first", real=1, synthetic=1, order=REAL_FIRST),
    Mixture("real_1_synthetic_1_synthetic_first", real=1, synthetic=1, order=SYNTHETIC_FIRST),
    *(Mixture(f"real_1_augmented_{n}", real=1, augmented=n) for n in _PARTS + _MULTIPLES),
)
# Beyond the paper: what synthetic slices add to augmented ones.
FURTHER = tuple(Mixture(f"real_1_synthetic_{n}_augmented_{n}", real=1, synthetic=n, augmented=n) for n in _MULTIPLES)


def select(names: Iterable[str]) -> tuple[Mixture, ...]:
    """The mixtures with these names, in the paper's order; all of the paper's for no names.

    Raises:
      UserError: a name is unknown.
    """
    names, known = set(names), [mixture.name for mixture in MIXTURES + FURTHER]
    unknown = sorted(names.difference(known))
    if unknown:
        raise UserError(f"No such row: {', '.join(unknown)}. The rows are {', '.join(known)}.")
    return tuple(mixture for mixture in MIXTURES + FURTHER if mixture.name in names) or MIXTURES


class Pool:
    """All labelled training slices, decoded once for all mixtures.

    Subsets are nested: with one seed, what a smaller fraction takes is part of what a larger one takes.

    Args:
      real: data set of real patients.
      synthetic: synthetic data sets; their slices are numbered through.
      cache: keep the decoded slices in memory.

    Attributes:
      num_real: slices of the real training set, N.
      num_synthetic: synthetic slices there are.
    """

    def __init__(self, real: prepared.PreparedData, synthetic: Sequence[prepared.PreparedData], cache: bool):
        self._num_modalities = real.config.num_modalities
        data = {REAL: [real], SYNTHETIC: synthetic}
        self._slices = {kind: [_labelled(d, cache) for d in sets] for kind, sets in data.items()}
        # Going through all of a data set also fills its cache.
        patients = {
            kind: [[x["patient_id"] for x in slices.as_numpy_iterator()] for slices in sets]
            for kind, sets in self._slices.items()
        }
        self._sizes = {kind: [len(names) for names in sets] for kind, sets in patients.items()}
        self._patients = np.array(patients[REAL][0])
        self.num_real, self.num_synthetic = (sum(self._sizes[kind]) for kind in (REAL, SYNTHETIC))

    def require(self, mixture: Mixture) -> None:
        """Refuses a mixture that needs more synthetic slices than there are.

        Raises:
          UserError: says how many are missing.
        """
        wanted = mixture.count(SYNTHETIC, self.num_real)
        if wanted > self.num_synthetic:
            raise UserError(
                f"Row {mixture.name} needs {wanted} synthetic slices, {wanted - self.num_synthetic} more than the "
                f"{self.num_synthetic} there are. Make a larger synthetic data set, or choose other rows."
            )

    def chosen(self, mixture: Mixture, seed: int) -> dict[str, np.ndarray]:
        """Numbers of the slices in a mixture, by kind, int64; a slice that is augmented twice is there twice.

        Real slices are those of whole patients in random order, the last one cut off: a tenth of the real slices means
        few patients, as it would where few are annotated. Synthetic and augmented slices are drawn one by one.
        """
        real, synthetic, augmented = (np.random.default_rng([seed, number]) for number in range(3))
        orders = {
            REAL: _by_patient(self._patients, real),
            SYNTHETIC: synthetic.permutation(self.num_synthetic),
            AUGMENTED: np.tile(augmented.permutation(self.num_real), math.ceil(mixture.augmented)),
        }
        return {kind: order[: mixture.count(kind, self.num_real)] for kind, order in orders.items()}

    def batches(self, mixture: Mixture, config: Config, start_step: int = 0) -> tf.data.Dataset:
        """The batches of `config.segmentation.steps` training steps for `Segmenter`, from step `start_step` on.

        Augmented slices are transformed anew each time they are drawn; real and synthetic ones are not transformed.
        """
        steps, phases = config.segmentation.steps, _PHASES[mixture.order]
        real = max(1, round(mixture.real_share * steps))
        # The first phase's end, where there are two.
        middle = {RANDOM: [], REAL_FIRST: [real], SYNTHETIC_FIRST: [steps - real]}[mixture.order]
        bounds, parts = [0, *middle, steps], []
        for kinds, first, last in zip(phases, bounds[:-1], bounds[1:], strict=True):
            begin = max(first, start_step)
            if begin < last:
                source = self._source(mixture, kinds, config.runtime.seed)
                parts.append(mixed_batches(source, config, begin).take(last - begin))
        return functools.reduce(lambda a, b: a.concatenate(b), parts)

    def _source(self, mixture: Mixture, kinds: Sequence[str], seed: int) -> input_pipeline.SliceSource:
        chosen = self.chosen(mixture, seed)
        parts = [part for kind in kinds for part in self._taken(kind, chosen[kind])]
        return input_pipeline.SliceSource(parts, self._num_modalities, cache=False, shared=("label", AUGMENTED))

    def _taken(self, kind: str, numbers: np.ndarray) -> list[tf.data.Dataset]:
        """The slices with these numbers, each as often as its number is there, apart by the set they come from."""
        origin = REAL if kind == AUGMENTED else kind
        sizes = self._sizes[origin]
        # Numbers go on from each data set to the next.
        copies = np.split(np.bincount(numbers, minlength=sum(sizes)), np.cumsum(sizes)[:-1])
        return [
            _repeated(slices, own, kind == AUGMENTED)
            for slices, own in zip(self._slices[origin], copies, strict=False)
            if own.any()
        ]


def _repeated(slices: tf.data.Dataset, copies: np.ndarray, augmented: bool) -> tf.data.Dataset:
    """Slices, number i `copies[i]` times, each marked as to be augmented or not."""
    copies = tf.constant(copies, tf.int64)

    def copied(number: tf.Tensor, example: dict) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors({**example, AUGMENTED: augmented}).repeat(copies[number])

    return slices.enumerate().flat_map(copied)


def _labelled(data: prepared.PreparedData, cache: bool) -> tf.data.Dataset:
    slices = input_pipeline.training_features(data.slices("train"), "patient_id")
    return slices.cache() if cache else slices


def _by_patient(patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers of all slices, patient after patient in random order, int64."""
    rank = {patient: rank for rank, patient in enumerate(rng.permutation(np.unique(patients)))}
    return np.argsort([rank[patient] for patient in patients], kind="stable")
