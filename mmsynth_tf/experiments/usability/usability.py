"""Segmenters trained on mixtures of real and synthetic slices, tested on the same real patients (the paper's Table 2).

All rows use the same number of slices and the same learning rate schedule. The
schedule spans the whole row, so the second of two phases has the lower rates.
Only the "augmented" slices of a row are transformed, as in the paper.
"""

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments import leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.experiments.usability import mixtures
from mmsynth_tf.experiments.usability.mixtures import BASELINE, Mixture
from mmsynth_tf.experiments.usability.usability_tables import comparison_table, main_table, modality_table
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reports import example_sections, figures, finished, plots, report
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage import atomic
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import checkpoints, run_folder, runs

EXAMPLES_FILE = "examples.png"
_FOUND_FILE = "found_in_examples.npz"
# As many as fit in one figure.
_EXAMPLES, _EXAMPLE_ROWS = 6, 7


def run(request: Request) -> dict[str, report.Table]:
    """Trains a segmenter for each row and seed, and compares each row with the row of all real slices.

    An interrupted run resumes from its newest checkpoint. Its checkpoints are deleted after scoring.

    Raises:
      UserError: a row is unknown, or needs more synthetic slices than there are.
      PreparedDataError: the data sets do not fit together.
      LeakError: a test patient would be used in training, itself or through synthetic slices.
      WorkDirError: the work directory has no segmenters; all runs use their settings.
    """
    rows = mixtures.select(request.rows)
    for data in request.synthetic:
        prepared.require_same_geometry(data, request.real.config, str(request.real.path))
    leaks.refuse_leak([d.record for d in (request.training, *request.synthetic)], request.real, request.split)
    config = run_config(request)
    learned_by = catalogue.STAGES[constants.SEGMENTATION].depends_on
    leaves = {path: value for path, (value, _) in tree.fields(config).items() if path.startswith(learned_by)}
    study = Study("usability", request, (), config=leaves)
    # Rows without synthetic slices are not recomputed for other synthetic sets.
    without_synthetic = Study("usability", dataclasses.replace(request, synthetic=()), (), config=leaves)
    pool = mixtures.Pool(request.training, request.synthetic, config.runtime.cache)
    for mixture in rows:
        pool.require(mixture)

    examples = example_sections.lesion_slices(request.real, request.split, _EXAMPLES)
    scores, folders = [], {}
    for seed in request.seeds:
        seeded = tree.override(config, {"runtime.seed": seed})
        for mixture in rows:
            own = study if mixture.synthetic else without_synthetic
            name = f"{mixture.name}_seed{seed}"
            folder = own.parts / name
            folders.setdefault(mixture.name, folder)
            scores += own.part(
                name, functools.partial(_train_and_score, mixture, pool, seeded, request, folder, examples)
            )
            shutil.rmtree(folder / constants.SEGMENTATION / checkpoints.FOLDER, ignore_errors=True)
    _draw_examples(study.folder, request.real.config, examples, folders)
    patients = request.real.record["patients"]
    regions = tuple(request.real.config.regions)
    single = scoring.of_single_modalities(scores)
    return study.finish(
        scores,
        {
            "table": main_table(single, rows, regions, patients),
            "by_modality": modality_table(scores, rows, regions),
            "comparison": comparison_table(single, rows, regions, patients),
        },
    )


def run_config(request: Request) -> configs.Config:
    """The settings of all runs, from the work directory's segmenters."""
    config = run_folder.read_config(pathlib.Path(request.workdir) / constants.SEGMENTATION)
    prepared.require_same_geometry(request.real, config.data, f"the segmenters in {request.workdir}")
    steps = request.steps or config.segmentation.steps
    return tree.override(dataclasses.replace(config, data=request.real.config), {"segmentation.steps": steps})


def _train_and_score(
    mixture: Mixture,
    pool: mixtures.Pool,
    config: configs.Config,
    request: Request,
    folder: pathlib.Path,
    examples: Sequence[example_sections.Example],
) -> list[Record]:
    from_real = [request.training] if mixture.real or mixture.augmented else []
    from_synthetic = request.synthetic if mixture.synthetic else ()
    batches = functools.partial(pool.batches, mixture, config)
    runs.train(constants.SEGMENTATION, config, [*from_real, *from_synthetic], folder, batches)
    segmenter, _ = runs.load(constants.SEGMENTATION, folder)
    _segment_examples(segmenter, examples, folder)
    cases = scoring.segmented_cases(segmenter, request.real, request.split)
    counts = {f"{kind}_slices": len(numbers) for kind, numbers in pool.chosen(mixture, config.runtime.seed).items()}
    return scoring.segmentation_records(
        cases,
        request.real,
        scoring.VOLUME,
        mixture=mixture.name,
        order=mixture.order,
        **counts,
        test_data=data_name(request.real),
        steps=config.segmentation.steps,
        slices_seen=config.segmentation.steps * config.segmentation.batch_size,
        seed=config.runtime.seed,
    )


def _segment_examples(segmenter: Segmenter, examples: Sequence[example_sections.Example], folder: pathlib.Path) -> None:
    """Saves the segmentations of the examples, because the weights are not kept."""
    images = [example["image"] for example in examples]
    if images:
        found = segmenter.segment(np.stack(images).astype(np.float32)).numpy()[..., 0]
        with atomic.atomic_path(folder / _FOUND_FILE) as path, open(path, "wb") as file:
            np.savez_compressed(file, found=found)


def _draw_examples(
    output: pathlib.Path,
    data: configs.DataConfig,
    examples: Sequence[example_sections.Example],
    folders: Mapping[str, pathlib.Path],
) -> None:
    """Draws the segmentations of test slices for each mixture; rows are slices, with the modalities in turn.

    Args:
      output: receives the figure.
      data: gives modalities and classes.
      examples: the test slices.
      folders: mixture name to the folder of its first seed.
    """
    if not examples:
        return
    choices = [np.flatnonzero(example["available"]) for example in examples]
    shown = [(row, choice[row % len(choice)]) for row, choice in enumerate(choices)]
    images = np.stack([examples[row]["image"][modality, ..., 0] for row, modality in shown])
    labels = {"reference": np.stack([example["label"][..., 0] for example in examples])}
    for name, folder in list(folders.items())[:_EXAMPLE_ROWS]:
        found = np.load(folder / _FOUND_FILE, allow_pickle=False)["found"]
        labels[name.replace("_", " ")] = np.stack([found[index] for index in shown])
    picture = figures.label_overlays(
        images.astype(np.float32), labels, data.labels, [data.modalities[modality] for _, modality in shown]
    )
    output.mkdir(parents=True, exist_ok=True)
    with atomic.atomic_path(output / EXAMPLES_FILE) as path:
        path.write_bytes(picture)


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """The table as a plot, and examples."""
    caption = "Segmentations of test slices, one modality per row, by segmenters of each training set (first seed)."
    return [usability_plot(rows), *finished.kept_picture(request.workdir, "usability", EXAMPLES_FILE, caption)]


def usability_plot(rows: Sequence[Record]) -> report.Figure:
    """The usability table as a plot: Dice of every row and region, one point for each seed."""
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
