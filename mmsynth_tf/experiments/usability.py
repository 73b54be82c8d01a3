"""Segmenters trained on mixtures of real and synthetic slices, tested on the same real patients (the paper's Table 2).

All rows see the same number of slices, by the same learning rate schedule; that
schedule runs over the whole of a row, so in a row of two phases the second one
is at the lower rates. Slices are transformed where a row's "augmented" says so
and nowhere else: `runtime.augment` is off in all rows, as in the paper.
"""

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from mmsynth_tf import checkpoints, config_tree, configs, constants, prepared, records, run_records, stages, training
from mmsynth_tf.experiments import evaluation, mixtures
from mmsynth_tf.experiments.mixtures import Mixture
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.measures import metrics
from mmsynth_tf.models.segmenter import Segmenter
from mmsynth_tf.records import Record
from mmsynth_tf.reports import figures, report, report_sections

EXAMPLES_FILE = "examples.png"
_AUTHORS_METRICS = ("authors' dice", "authors' mse")
_FOUND_FILE = "found_in_examples.npz"
# As many fit beside each other.
_EXAMPLES, _EXAMPLE_ROWS = 6, 7


def run(request: Request) -> dict[str, report.Table]:
    """Trains a segmenter for each row and seed, and compares the rows with the one of all real slices.

    A run that was stopped goes on from its newest checkpoint. Once it is scored its checkpoints are deleted.

    Raises:
      UserError: a row is unknown, or needs more synthetic slices than there are.
      PreparedDataError: the data sets do not fit together.
      LeakError: a test patient would be used in training, itself or through synthetic slices.
      WorkDirError: the work directory has no segmenters, whose settings are those of all runs.
    """
    rows = mixtures.select(request.rows)
    for data in request.synthetic:
        prepared.require_same_geometry(data, request.real.config, str(request.real.path))
    evaluation.refuse_leak([d.record for d in (request.training, *request.synthetic)], request.real, request.split)
    config = run_config(request)
    learned_by = stages.STAGES[constants.SEGMENTATION].depends_on
    leaves = {path: value for path, (value, _) in config_tree.fields(config).items() if path.startswith(learned_by)}
    study = Study("usability", request, (), config=leaves)
    # What holds no synthetic slices is not measured again for other synthetic slices.
    without_synthetic = Study("usability", dataclasses.replace(request, synthetic=()), (), config=leaves)
    pool = mixtures.Pool(request.training, request.synthetic, config.runtime.cache)
    for mixture in rows:
        pool.require(mixture)

    examples = report_sections.lesion_slices(request.real, request.split, _EXAMPLES)
    scores, folders = [], {}
    for seed in request.seeds:
        seeded = config_tree.override(config, {"runtime.seed": seed})
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
    single = evaluation.of_single_modalities(scores)
    return study.finish(
        scores,
        {
            "table": main_table(single, rows, regions, patients),
            "by_modality": modality_table(scores, rows, regions),
            "comparison": comparison_table(single, rows, regions, patients),
        },
    )


def run_config(request: Request) -> configs.Config:
    """The settings of the work directory's segmenters, as all runs use them."""
    config = run_records.read_config(pathlib.Path(request.workdir) / constants.SEGMENTATION)
    prepared.require_same_geometry(request.real, config.data, f"the segmenters in {request.workdir}")
    steps = request.steps or config.segmentation.steps
    # A run must end at a checkpoint.
    interval = max(n for n in range(1, config.segmentation.steps_per_checkpoint + 1) if steps % n == 0)
    changes = {
        "segmentation.steps": steps,
        "segmentation.steps_per_checkpoint": interval,
        "runtime.augment": False,
    }
    return config_tree.override(dataclasses.replace(config, data=request.real.config), changes)


def _train_and_score(
    mixture: Mixture,
    pool: mixtures.Pool,
    config: configs.Config,
    request: Request,
    folder: pathlib.Path,
    examples: Sequence[report_sections.Example],
) -> list[Record]:
    from_real = [request.training] if mixture.real or mixture.augmented else []
    from_synthetic = request.synthetic if mixture.synthetic else ()
    batches = functools.partial(pool.batches, mixture, config)
    training.train(constants.SEGMENTATION, config, [*from_real, *from_synthetic], folder, batches)
    segmenter, _ = training.load(constants.SEGMENTATION, folder)
    _segment_examples(segmenter, examples, folder)
    cases = evaluation.segmented_cases(segmenter, request.real, request.split)
    counts = {f"{kind}_slices": len(numbers) for kind, numbers in pool.chosen(mixture, config.runtime.seed).items()}
    return evaluation.segmentation_records(
        cases,
        request.real,
        evaluation.VOLUME,
        mixture=mixture.name,
        order=mixture.order,
        **counts,
        test_data=data_name(request.real),
        steps=config.segmentation.steps,
        slices_seen=config.segmentation.steps * config.segmentation.batch_size,
        seed=config.runtime.seed,
    )


def _segment_examples(segmenter: Segmenter, examples: Sequence[report_sections.Example], folder: pathlib.Path) -> None:
    """Keeps what is found in the examples, for the weights are not kept."""
    images = [example["image"] for example in examples]
    if images:
        found = segmenter.segment(np.stack(images).astype(np.float32)).numpy()[..., 0]
        with records.atomic_path(folder / _FOUND_FILE) as path, open(path, "wb") as file:
            np.savez_compressed(file, found=found)


def _draw_examples(
    output: pathlib.Path,
    data: configs.DataConfig,
    examples: Sequence[report_sections.Example],
    folders: Mapping[str, pathlib.Path],
) -> None:
    """Draws test slices, one a row and a modality each in turn, with what was found after training on each mixture.

    Args:
      output: gets the picture.
      data: gives modalities and classes.
      examples: the test slices.
      folders: of the first seed of each mixture, by its name.
    """
    # Runs of earlier versions kept nothing.
    kept = {name: path for name, folder in folders.items() if (path := folder / _FOUND_FILE).is_file()}
    if not examples or not kept:
        return
    choices = [np.flatnonzero(example["available"]) for example in examples]
    shown = [(row, choice[row % len(choice)]) for row, choice in enumerate(choices)]
    images = np.stack([examples[row]["image"][modality, ..., 0] for row, modality in shown])
    labels = {"reference": np.stack([example["label"][..., 0] for example in examples])}
    for name, path in list(kept.items())[:_EXAMPLE_ROWS]:
        found = np.load(path, allow_pickle=False)["found"]
        labels[name.replace("_", " ")] = np.stack([found[index] for index in shown])
    picture = figures.label_overlays(
        images.astype(np.float32), labels, data.labels, [data.modalities[modality] for _, modality in shown]
    )
    output.mkdir(parents=True, exist_ok=True)
    with records.atomic_path(output / EXAMPLES_FILE) as path:
        path.write_bytes(picture)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row against the row of all real slices, over the patients that have a score in both.

    Attributes:
      difference: mean over patients of row minus baseline; NaN without patients.
      p_value: two-sided Wilcoxon signed-rank test, not corrected for the number of rows; NaN without patients.
      count: number of patients.
    """

    difference: float
    p_value: float
    count: int


def compare(scores: Sequence[Record], name: str, region: str, patients: dict[str, str]) -> Comparison:
    """Compares the Dice of a row's patients, each a mean over its cases, modalities and seeds, with the baseline's."""
    ours, baseline = (_by_patient(scores, mixture, region, patients) for mixture in (name, mixtures.BASELINE.name))
    shared = sorted(ours.keys() & baseline.keys())
    differences = np.array([ours[patient] - baseline[patient] for patient in shared])
    if not len(differences):
        return Comparison(np.nan, np.nan, 0)
    # Without any difference there is nothing to rank.
    p_value = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Comparison(float(differences.mean()), p_value, len(differences))


def _by_patient(scores: Iterable[Record], name: str, region: str, patients: dict[str, str]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in _matching(scores, mixture=name, region=region, metric=metrics.DICE):
        if not np.isnan(row["value"]):
            values.setdefault(patients.get(row["case"], row["case"]), []).append(row["value"])
    return {patient: float(np.mean(found)) for patient, found in values.items()}


def main_table(
    scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str], patients: dict[str, str]
) -> report.Table:
    """The paper's table: what a row was trained on, its scores, and its difference from all real slices."""
    header = ["row", "real", "synthetic", "augmented", "order", *(f"Dice {region}" for region in regions)]
    body = []
    for mixture in rows:
        own = _matching(scores, mixture=mixture.name)
        body.append(
            [
                *(mixture.name, f"{mixture.real:g}", f"{mixture.synthetic:g}", f"{mixture.augmented:g}", mixture.order),
                *(_over_seeds(_matching(own, region=region, metric=metrics.DICE)) for region in regions),
                *(_over_seeds(_matching(own, metric=metric)) for metric in _AUTHORS_METRICS),
                *_comparison_cells(scores, mixture, regions[0], patients),
            ]
        )
    caption = (
        "Mean ± sd over n seeds of the mean over patients and modalities; the authors' scores are those of label maps. "
        f"Difference of the Dice of {regions[0]} from row {mixtures.BASELINE.name}: mean over patients, two-sided "
        "Wilcoxon signed-rank test, not corrected for the number of rows."
    )
    return report.Table([*header, *_AUTHORS_METRICS, "difference", "p", "patients"], body, caption)


def comparison_table(
    scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str], patients: dict[str, str]
) -> report.Table:
    """The differences of all rows from all real slices, in every region."""
    body = [
        [mixture.name, region, *_comparison_cells(scores, mixture, region, patients)]
        for mixture in rows
        if mixture != mixtures.BASELINE
        for region in regions
    ]
    caption = f"Dice against row {mixtures.BASELINE.name}, paired by patient; Wilcoxon signed-rank test, uncorrected."
    return report.Table(["row", "region", "difference", "p", "patients"], body, caption)


def modality_table(scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str]) -> report.Table:
    """Dice of each modality's segmenter, and of all together."""
    body = []
    for mixture in rows:
        own = _matching(scores, mixture=mixture.name, metric=metrics.DICE)
        for modality in dict.fromkeys(row["modality"] for row in own):
            cells = [_over_seeds(_matching(own, modality=modality, region=region)) for region in regions]
            body.append([mixture.name, modality, *cells])
    caption = (
        "Dice by modality: mean ± sd over n seeds of the mean over patients; "
        f"{constants.ALL_MODALITIES}: what they find together."
    )
    return report.Table(["row", "modality", *regions], body, caption)


def _comparison_cells(
    scores: Sequence[Record], mixture: Mixture, region: str, patients: dict[str, str]
) -> list[report.Cell]:
    found = compare(scores, mixture.name, region, patients)
    if mixture == mixtures.BASELINE or not found.count:
        return ["–", "–", found.count]
    return [f"{found.difference:+.3f}", f"{found.p_value:.3f}", found.count]


def _over_seeds(scores: Sequence[Record]) -> str:
    seeds = dict.fromkeys(row["seed"] for row in scores)
    means = [metrics.summarise(row["value"] for row in _matching(scores, seed=seed)).mean for seed in seeds]
    return metrics.summarise(means).text()


def _matching(scores: Iterable[Record], **fields: str | int) -> list[Record]:
    return [row for row in scores if all(row[name] == value for name, value in fields.items())]
