"""The training sets of the usability experiment: real, synthetic and augmented slices in 25 mixtures (method §8).

All fractions are relative to the size of the real training set: 1 is as many
slices as it has, for slices of any kind.
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

# The kinds of slices that are drawn together in each phase of training.
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
      augmented: randomly transformed real slices in addition to the real ones, as the same fraction.
      order: `RANDOM` mixes all kinds; an ordered row trains first on one kind, then on the other.
      real_share: fraction of an ordered row's steps on real slices. After synthetic slices, 10 % real slices get 10 %
        of the steps, as in the authors' epochs. With half of the steps, segmenters forget the first phase.
    """

    name: str
    real: float = 0.0
    synthetic: float = 0.0
    augmented: float = 0.0
    order: str = RANDOM
    real_share: float = 0.5

    def count(self, kind: str, whole: int) -> int:
        """Number of slices of a kind if the real training set has `whole`; at least 1 if the fraction is above 0."""
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
# Beyond the paper: synthetic slices in addition to augmented ones.
FURTHER = tuple(Mixture(f"real_1_synthetic_{n}_augmented_{n}", real=1, synthetic=n, augmented=n) for n in _MULTIPLES)


def select(names: Iterable[str]) -> tuple[Mixture, ...]:
    """The mixtures with these names, in the paper's order; without names, all mixtures of the paper.

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

    Subsets are nested: with the same seed, a smaller fraction is a subset of a larger one.

    Args:
      real: data set of real patients.
      synthetic: synthetic data sets; their slices are numbered consecutively.
      cache: whether to keep the decoded slices in memory.

    Attributes:
      num_real: number of slices in the real training set, N.
      num_synthetic: number of synthetic slices.
    """

    def __init__(self, real: prepared.PreparedData, synthetic: Sequence[prepared.PreparedData], cache: bool):
        self._num_modalities = real.config.num_modalities
        data = {REAL: [real], SYNTHETIC: synthetic}
        self._slices = {kind: [_labelled(d, cache) for d in sets] for kind, sets in data.items()}
        # A full pass over a data set also fills its cache.
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
          UserError: there are too few; the message gives the number that is needed.
        """
        wanted = mixture.count(SYNTHETIC, self.num_real)
        if wanted > self.num_synthetic:
            raise UserError(
                f"Row {mixture.name} needs {wanted} synthetic slices, but there are {self.num_synthetic}. Build a "
                f"synthetic data set with --count={wanted}, or choose other rows with --rows."
            )

    def chosen(self, mixture: Mixture, seed: int) -> dict[str, np.ndarray]:
        """Numbers of the slices in a mixture, by kind, int64; augmented slices may repeat.

        Real slices are taken patient by patient in random order; the last patient may be incomplete. A tenth of the
        real slices thus means few patients, as with few annotations. Synthetic and augmented slices are drawn singly.
        """
        real, synthetic, augmented = (np.random.default_rng([seed, number]) for number in range(3))
        orders = {
            REAL: _by_patient(self._patients, real),
            SYNTHETIC: synthetic.permutation(self.num_synthetic),
            AUGMENTED: np.tile(augmented.permutation(self.num_real), math.ceil(mixture.augmented)),
        }
        return {kind: order[: mixture.count(kind, self.num_real)] for kind, order in orders.items()}

    def batches(self, mixture: Mixture, config: Config, start_step: int = 0) -> tf.data.Dataset:
        """Batches of `config.segmentation.steps` training steps for `Segmenter`, from step `start_step` on.

        Augmented slices get a new transform with each draw; real and synthetic slices are not transformed.
        """
        steps, phases = config.segmentation.steps, _PHASES[mixture.order]
        real = max(1, round(mixture.real_share * steps))
        # Last step of the first phase if there are two phases.
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
        """The slices with these numbers, repeated like the numbers; one data set for each source set."""
        origin = REAL if kind == AUGMENTED else kind
        sizes = self._sizes[origin]
        # Slices are numbered consecutively over the data sets.
        copies = np.split(np.bincount(numbers, minlength=sum(sizes)), np.cumsum(sizes)[:-1])
        return [
            _repeated(slices, own, kind == AUGMENTED)
            for slices, own in zip(self._slices[origin], copies, strict=False)
            if own.any()
        ]


def _repeated(slices: tf.data.Dataset, copies: np.ndarray, augmented: bool) -> tf.data.Dataset:
    """Repeats slice i `copies[i]` times and marks each slice as augmented or not."""
    copies = tf.constant(copies, tf.int64)

    def copied(number: tf.Tensor, example: dict) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors({**example, AUGMENTED: augmented}).repeat(copies[number])

    return slices.enumerate().flat_map(copied)


def _labelled(data: prepared.PreparedData, cache: bool) -> tf.data.Dataset:
    slices = input_pipeline.training_features(data.slices("train"), "patient_id")
    return slices.cache() if cache else slices


def _by_patient(patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers of all slices, grouped by patient in random order, int64."""
    rank = {patient: rank for rank, patient in enumerate(rng.permutation(np.unique(patients)))}
    return np.argsort([rank[patient] for patient in patients], kind="stable")
