"""The pictures of each experiment on the page of all of them."""

import pathlib
from collections.abc import Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.experiments import scoring, study
from mmsynth_tf.experiments.memorisation.memorisation import NEAREST_DISTANCE
from mmsynth_tf.experiments.slice_sets import name_of
from mmsynth_tf.experiments.translation import translation
from mmsynth_tf.experiments.usability import usability
from mmsynth_tf.experiments.usability.mixtures import BASELINE
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reports import example_sections, figures, finished, plots, report
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

_SEGMENTED = 6


def segmentation_figures(request: study.Request) -> list[report.Figure]:
    """What the segmenters find in real test slices and in synthetic ones."""
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
        report.Figure(
            _segmented(segmenter, data, examples), f"Segmentations of {name} slices, each modality on its own."
        )
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


def usability_figures(rows: Sequence[Record], workdir: pathlib.Path) -> list[report.Figure]:
    """The table as a plot, and examples."""
    caption = "Segmentations of test slices, a modality each, after training on each set (first seed)."
    return [usability_plot(rows), *_kept_picture(workdir, "usability", usability.EXAMPLES_FILE, caption)]


def usability_plot(rows: Sequence[Record]) -> report.Figure:
    """The usability table as a plot: Dice of every row and region, a point a seed."""
    rows = [row for row in scoring.of_single_modalities(rows) if row["metric"] == DICE]
    names = list(dict.fromkeys(row["mixture"] for row in rows))
    series, repetitions = {}, {}
    for region in dict.fromkeys(row["region"] for row in rows):
        of_region = [row for row in rows if row["region"] == region]
        single = [_seed_means([row for row in of_region if row["mixture"] == name]) for name in names]
        summaries = [summarise(values) for values in single]
        series[region] = np.array([s.mean for s in summaries]), np.nan_to_num([s.std for s in summaries])
        repetitions[region] = single
    baseline = names.index(BASELINE.name) if BASELINE.name in names else None
    return report.Figure(
        plots.points_with_errors(names, series, "Dice on real test patients", baseline, repetitions),
        "Dice by training set: mean ± sd over seeds; hollow points are single seeds, each a mean over patients and "
        f"modalities; dashed lines: {BASELINE.name}.",
    )


def _seed_means(rows: Sequence[Record]) -> np.ndarray:
    seeds = dict.fromkeys(row["seed"] for row in rows)
    return np.array([summarise(row["value"] for row in rows if row["seed"] == seed).mean for seed in seeds])


def memorisation_figures(rows: Sequence[Record], real: str) -> list[report.Figure]:
    """Distances to the nearest training slice, a figure for each space.

    Args:
      rows: records of the experiment.
      real: name of the real data set, whose unseen slices the others are compared with.
    """
    rows = [row for row in rows if row["metric"] == NEAREST_DISTANCE]
    pictures = []
    for space in dict.fromkeys(row["space"] for row in rows):
        distances, unseen = {}, []
        for row in rows:
            if row["space"] == space:
                distances.setdefault(name_of(row), []).append(row["value"])
                unseen += [row["value"]] if row["test_data"] == real else []
        marks = {"1st percentile of unseen real ones": float(np.percentile(unseen, 1))} if unseen else {}
        picture = plots.histograms(
            {name: np.array(values) for name, values in distances.items()}, f"distance ({space})", marks
        )
        pictures.append(report.Figure(picture, f"Distance to the nearest real training slice: {space}."))
    return pictures


def translation_figures(workdir: pathlib.Path) -> list[report.Figure]:
    caption = "Translations of test patients' slices with most lesion, each from the modality before it."
    return _kept_picture(workdir, "translation", translation.EXAMPLES_FILE, caption)


def _kept_picture(workdir: pathlib.Path, experiment: str, name: str, caption: str) -> list[report.Figure]:
    """A picture that an experiment left, if it did."""
    path = pathlib.Path(workdir) / finished.EVALUATION / experiment / name
    return [report.Figure(path.read_bytes(), caption)] if path.is_file() else []
