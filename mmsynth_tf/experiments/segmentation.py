"""Segmentation of real test patients (method §8)."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import constants, prepared
from mmsynth_tf.experiments import leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.reports import example_sections, figures, report
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

_SEGMENTED = 6  # Slices in a picture.


# The joint segmenter first, then the paper's.
_STAGES = (constants.JOINT, constants.SEGMENTATION)


def run(request: Request) -> dict[str, report.Table]:
    """Dice of the joint segmenter and of the paper's, as far as they are trained, for each patient volume and region.

    Raises:
      WorkDirError: no segmenter is trained.
      PreparedDataError: the data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    stages = _trained(request) or [constants.JOINT]  # Loading this one says what to do.
    study, rows = Study("segmentation", request, stages), []
    for stage in stages:
        segmenter, config = runs.load(stage, request.workdir)
        require_usable(request, stage)
        design = stage if stage == constants.JOINT else config.segmentation.design
        common = {"design": design, "seed": config.runtime.seed}
        measure = functools.partial(scores, segmenter, request.real, request.split, scoring.VOLUME, **common)
        rows += study.part(f"{data_name(request.real)}_{stage}", measure)
    table = scoring.summary_table(rows, ("test_data", "design", "modality"), "dice", "Dice per volume, mean ± sd")
    return study.finish(rows, {"table": table})


def _trained(request: Request) -> list[str]:
    return [stage for stage in _STAGES if run_folder.has_run(stage, request.workdir)]


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """Segmentations of real test slices and of synthetic slices."""
    del rows  # The figures show slices, not records.
    segmenters = [runs.load(stage, request.workdir)[0] for stage in _trained(request)]
    chosen = {request.split: (request.real, example_sections.lesion_slices(request.real, request.split, _SEGMENTED))}
    for data in request.synthetic[:1]:
        chosen["synthetic"] = (
            data,
            example_sections.examples_with(data, "train", example_sections.drawn_keys(data, _SEGMENTED)),
        )
    return [
        _segmented(segmenter, data, examples, name)
        for segmenter in segmenters
        for name, (data, examples) in chosen.items()
        if examples
    ]


def _segmented(
    segmenter: Segmenter | JointSegmenter,
    data: prepared.PreparedData,
    examples: Sequence[example_sections.Example],
    name: str,
) -> report.Figure:
    labels = np.stack([e["label"][..., 0] for e in examples])
    images, (*_, shown) = example_sections.modality_images(examples), data.config.modalities
    if isinstance(segmenter, JointSegmenter):
        columns = {"reference": labels, "from all modalities": segmenter.segment(tf.constant(images)).numpy()}
        picture = figures.label_overlays(images[..., -1], columns, data.config.labels)
        return report.Figure(picture, f"Segmentations of {name} slices from all modalities, of which {shown} is shown.")
    found = segmenter.segment(np.stack([e["image"] for e in examples]).astype(np.float32)).numpy()[..., 0]
    picture = figures.segmented_slices(
        images, data.config.modalities, labels, np.moveaxis(found, 1, -1), data.config.labels
    )
    return report.Figure(picture, f"Segmentations of {name} slices, by each modality alone.")


def require_usable(request: Request, stage: str) -> None:
    """Refuses data on which a stage's segmenters cannot be scored.

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    config = run_folder.read_config(request.workdir / stage)
    for data in (request.real, *request.synthetic):
        prepared.require_same_geometry(data, config.data, f"the segmenters in {request.workdir}")
    trained_on = run_folder.trained_on(stage, request.workdir)
    leaks.refuse_leak(trained_on, request.real, request.split)


def scores(
    segmenter: Segmenter | JointSegmenter, data: prepared.PreparedData, split: str, unit: str, **common: str | int
) -> list[Record]:
    """Scores a segmenter on a split, by `unit` of `scoring`; `common` holds fields of every record."""
    cases = scoring.segmented_cases(segmenter, data, split)
    return scoring.segmentation_records(cases, data, unit, test_data=data_name(data), **common)
