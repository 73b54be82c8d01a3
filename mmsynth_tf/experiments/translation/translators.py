"""What is compared in translation: the synthesis stage, the unchanged source, and U-Nets of registered pairs."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.experiments import scoring
from mmsynth_tf.experiments.translation.paired_regressor import PairedRegressor
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter, as_channels
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.stages.synthesis.translation import Translator, sure_lesion

# Names in records. "real" is the target itself; "given" is the given modalities without any translation.
REAL, GIVEN, COPY, GAN, PAIRED = "real", "given", "copy", "gan", "paired"

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Translation:
    """A translated volume.

    Attributes:
      images: float32 [D, H, W, 1] in [0, 1].
      drawn: uint8 [D, H, W], the lesion that the translator was told to draw; None if it is told none.
    """

    images: np.ndarray
    drawn: np.ndarray | None = None


# Maps slices float32 [D, n, H, W, 1], 0 where a modality is not given, the indices of the given modalities, and that of
# the target.
Translate = Callable[[np.ndarray, Sequence[int], int], Translation]


def of_synthesis_stage(translator: Translator, segmenter: Segmenter | JointSegmenter, data: DataConfig) -> Translate:
    """The synthesis stage, which draws the lesions that the segmenter is sure of in the given modalities."""

    def translate(images: np.ndarray, sources: Sequence[int], target: int) -> Translation:
        given = np.zeros([len(images), images.shape[1]], bool)
        given[:, list(sources)] = True
        parts = [slice(start, start + _BATCH) for start in range(0, len(images), _BATCH)]
        found = [scoring.probabilities_together(segmenter, tf.constant(images[p]), given[p]) for p in parts]
        lesion = sure_lesion(np.concatenate(found), data)

        def made(part: slice) -> np.ndarray:
            channels = as_channels(tf.constant(images[part]))
            targets = tf.fill([channels.shape[0]], target)
            return translator.translate(channels, targets, tf.constant(lesion[part, ..., None])).numpy()

        return Translation(np.concatenate([made(part) for part in parts]), lesion)

    return translate


def copy(images: np.ndarray, sources: Sequence[int], target: int) -> Translation:
    """The unchanged source; it takes a single one."""
    del target
    [source] = sources
    return Translation(images[:, source])


def of_registered_pairs(regressor: PairedRegressor) -> Translate:
    """U-Nets that learned from registered pairs; they take a single source."""

    def translate(images: np.ndarray, sources: Sequence[int], target: int) -> Translation:
        [source] = sources
        slices = images[:, source]
        parts = [slices[start : start + _BATCH] for start in range(0, len(slices), _BATCH)]
        return Translation(np.concatenate([regressor.translate(tf.constant(part), target).numpy() for part in parts]))

    return translate


def single_source(translator: str) -> bool:
    """Whether a translator takes a single source."""
    return translator in (COPY, PAIRED)
