"""Scores of translations: similarity to real slices, and faithfulness of their lesions."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.experiments import scoring
from mmsynth_tf.experiments.translation import translators
from mmsynth_tf.experiments.translation.translators import Translate, Translation
from mmsynth_tf.experiments.translation.volumes import Volume, only, tasks
from mmsynth_tf.metrics import images, segmentation
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record

PSNR, SSIM, MAE = "psnr", "ssim", "mae"
QUALITY = {PSNR: images.masked_psnr, SSIM: images.masked_ssim, MAE: images.masked_mae}
REGIONAL_SSIM, BRASYN_SSIM = "regional_ssim", "brasyn_ssim"
HEAD, LESION = "head", images.LESION
# Prefixes of metrics: lesions that the translator was told to draw, and lesions that the judge finds in the given
# modalities together with the target. Without prefix the judge sees the target alone.
DRAWN, WITH_GIVEN = "drawn_", "with_given_"

_BATCH = 32
_MM3_PER_ML = 1000.0


def score(
    name: str,
    translate: Translate | None,
    segmenter: Segmenter | JointSegmenter,
    cases: Iterable[Volume],
    data: configs.DataConfig,
    **common: str | int,
) -> Iterator[Record]:
    """Scores translations case by case, with all slices of a case together.

    Args:
      name: of the translator. `translators.REAL` is the real target, `translators.GIVEN` the given modalities alone.
      translate: the translator; None for these two.
      segmenter: the judge of lesions, trained on real slices and independent of the translator.
      cases: registered volumes.
      data: gives modalities, regions and the size of a voxel.
      **common: fields of every record.

    Yields:
      One flat record for each case, sources, target, region and metric.
    """
    for case, (sources, target) in itertools.product(cases, _tasks(name, data.num_modalities)):
        there = case.available[:, [*sources, target]].all(axis=1)
        if not there.any():
            continue
        key = {
            **common,
            "translator": name,
            "source": "+".join(data.modalities[index] for index in sources),
            "given": len(sources),
            "modality": data.modalities[target],
            "unit": scoring.VOLUME,
            "case": case.case_id,
            "slices": int(there.sum()),
        }
        real, label = case.images[there], None if case.label is None else case.label[there]
        made = translate(only(real, sources), sources, target) if translate else Translation(real[:, target])
        values = dict(_similarities(real, target, made.images, label)) if translate else {}
        if label is not None:
            slices = real.copy()
            slices[:, target] = made.images
            for prefix, shown in _shown(name, sources, target, data.num_modalities).items():
                values |= _lesion_scores(label, find(segmenter, only(slices, shown), shown), data, prefix)
            if made.drawn is not None:
                values |= _volumes(label, made.drawn, data, DRAWN)
        for (region, metric), value in values.items():
            yield {**key, "region": region, "metric": metric, "value": value}


def _tasks(name: str, count: int) -> list[tuple[tuple[int, ...], int]]:
    """Sources and target of what is scored."""
    if name == translators.REAL:
        return [((index,), index) for index in range(count)]
    if name == translators.GIVEN:  # Whatever the target is.
        return [(sources, sources[0]) for sources in dict.fromkeys(sources for sources, _ in tasks(count))]
    return [task for task in tasks(count) if len(task[0]) == 1 or not translators.single_source(name)]


def _shown(name: str, sources: Sequence[int], target: int, count: int) -> dict[str, Sequence[int]]:
    """The modalities that the judge sees, by prefix of the metrics."""
    if name == translators.GIVEN:
        return {WITH_GIVEN: sources}
    if name == translators.REAL:
        return {"": [target], WITH_GIVEN: range(count)}
    return {"": [target]} | ({} if translators.single_source(name) else {WITH_GIVEN: [*sources, target]})


def _similarities(
    real: np.ndarray, target: int, made: np.ndarray, label: np.ndarray | None
) -> Iterator[tuple[tuple[str, str], float]]:
    """Similarity of a translation to the real slices, by region and metric."""
    reference, image = real[:, target, ..., 0], made[..., 0]
    # The mask is the same for all sources and targets.
    head = np.any(real > 0, axis=1)[..., 0]
    for name, measure in QUALITY.items():
        yield (HEAD, name), measure(reference, image, head)
    if label is None:
        return
    lesion = label > 0
    yield (LESION, MAE), images.masked_mae(reference, image, lesion)
    # Outside the head of the target, its real slices are 0.
    inside = np.where(head, image, 0.0)
    for name, measure in ((REGIONAL_SSIM, images.regional_ssim), (BRASYN_SSIM, images.brasyn_ssim)):
        yield from (((region, name), value) for region, value in measure(reference, inside, lesion).items())


def _lesion_scores(
    label: np.ndarray, found: np.ndarray, data: configs.DataConfig, prefix: str
) -> Mapping[tuple[str, str], float]:
    """Scores of labels [D, H, W], by region and metric."""
    overlaps = segmentation.region_metrics(label, found, data.regions)
    values = {(region, prefix + name): value for region, named in overlaps.items() for name, value in named.items()}
    return values | _volumes(label, found, data, prefix)


def find(segmenter: Segmenter | JointSegmenter, slices: np.ndarray, shown: Sequence[int]) -> np.ndarray:
    """Labels uint8 [D, H, W] that a segmenter finds in slices [D, n, H, W, 1] of the shown modalities, 0 in others."""
    there = np.zeros(slices.shape[1], bool)
    there[list(shown)] = True
    parts = [slices[start : start + _BATCH] for start in range(0, len(slices), _BATCH)]
    found = [
        scoring.probabilities_together(segmenter, tf.constant(part), np.repeat(there[None], len(part), axis=0))
        for part in parts
    ]
    return np.argmax(np.concatenate(found), axis=-1).astype(np.uint8)


def _volumes(
    label: np.ndarray, found: np.ndarray, data: configs.DataConfig, prefix: str
) -> Mapping[tuple[str, str], float]:
    voxel_ml = float(np.prod(data.spacing_mm)) / _MM3_PER_ML
    errors = segmentation.volume_errors(label > 0, found > 0, voxel_ml)
    return {(LESION, prefix + name): value for name, value in errors.items()}
