"""Segmentation of real test patients (method §8)."""

import pathlib
from collections.abc import Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.experiments import leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.reports import example_sections, figures, report
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

_SEGMENTED = 6  # Slices in a picture.


def run(request: Request) -> dict[str, report.Table]:
    """Dice of the segmenters for each patient volume, modality and region.

    Raises:
      PreparedDataError: the data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    study = Study("segmentation", request, (constants.SEGMENTATION,))
    segmenter, config = runs.load(constants.SEGMENTATION, request.workdir)
    require_usable(request)
    common = {"seed": config.runtime.seed}
    rows = study.part(
        data_name(request.real),
        lambda: scores(segmenter, request.real, request.split, scoring.VOLUME, **common),
    )
    table = scoring.summary_table(rows, ("test_data", "modality"), "dice", "Dice per volume, mean ± sd")
    return study.finish(rows, {"table": table})


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """Segmentations of real test slices and of synthetic slices."""
    del rows  # The figures show slices, not records.
    if not (pathlib.Path(request.workdir) / constants.SEGMENTATION / run_folder.CONFIG_FILE).is_file():
        return []
    segmenter, _ = runs.load(constants.SEGMENTATION, request.workdir)
    chosen = {request.split: (request.real, example_sections.lesion_slices(request.real, request.split, _SEGMENTED))}
    for data in request.synthetic[:1]:
        chosen["synthetic"] = (
            data,
            example_sections.examples_with(data, "train", example_sections.drawn_keys(data, _SEGMENTED)),
        )
    return [
        report.Figure(_segmented(segmenter, data, examples), f"Segmentations of {name} slices, by each modality alone.")
        for name, (data, examples) in chosen.items()
        if examples
    ]


def _segmented(
    segmenter: Segmenter, data: prepared.PreparedData, examples: Sequence[example_sections.Example]
) -> bytes:
    found = segmenter.segment(np.stack([e["image"] for e in examples]).astype(np.float32)).numpy()[..., 0]
    labels = np.stack([e["label"][..., 0] for e in examples])
    images = example_sections.modality_images(examples)
    names = data.config.modalities, data.config.labels
    return figures.segmented_slices(images, names[0], labels, np.moveaxis(found, 1, -1), names[1])


def require_usable(request: Request) -> None:
    """Refuses data on which the segmenters of a work directory cannot be scored.

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    config = run_folder.read_config(request.workdir / constants.SEGMENTATION)
    for data in (request.real, *request.synthetic):
        prepared.require_same_geometry(data, config.data, f"the segmenters in {request.workdir}")
    trained_on = run_folder.trained_on(constants.SEGMENTATION, request.workdir)
    leaks.refuse_leak(trained_on, request.real, request.split)


def scores(
    segmenter: Segmenter, data: prepared.PreparedData, split: str, unit: str, **common: str | int
) -> list[Record]:
    """Scores a segmenter on a split, by `unit` of `scoring`; `common` holds fields of every record."""
    cases = scoring.segmented_cases(segmenter, data, split)
    return scoring.segmentation_records(cases, data, unit, test_data=data_name(data), **common)
