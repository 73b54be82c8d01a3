"""One page on all experiments of a work directory: results and figures, and which experiments were not run."""

import logging
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import __version__, constants, prepared
from mmsynth_tf.experiments import catalogue, study
from mmsynth_tf.reports import example_sections, finished, report
from mmsynth_tf.storage import records
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder

REPORT_FILE = "report.html"

_MAPS, _SAMPLES, _RANKED = 24, 8, 4
_FOLDED_ROWS = 30  # Tables with more rows are collapsed.

_LOG = logging.getLogger(__name__)


def run(request: study.Request) -> dict[str, report.Table]:
    """Writes the page of all finished experiments; returns its table of contents."""
    path = write(request)
    _LOG.info("Report: %s", path)
    return {"contents": contents_table(request.workdir)}


def write(request: study.Request) -> pathlib.Path:
    """Writes ``<workdir>/evaluation/report.html``.

    Args:
      request: the page shows figures and filters of the data sets in `synthetic`, with details of the first.

    Returns:
      Path of the page.
    """
    path = pathlib.Path(request.workdir) / finished.EVALUATION / REPORT_FILE
    # What the joint segmenter says comes first, the paper's tables later.
    first = [name for name, experiment in catalogue.EXPERIMENTS.items() if experiment.only == constants.JOINT]
    others = [name for name in catalogue.EXPERIMENTS if name not in first]
    sections = [
        report.Section("Measurements", tables=[contents_table(request.workdir)]),
        *(_experiment_section(name, request) for name in first),
        *(_synthetic_sections(request) if request.synthetic else [_no_synthetic_section()]),
        *(_experiment_section(name, request) for name in others),
        settings_section(request),
    ]
    names = ", ".join(study.data_name(data) for data in request.data_sets)
    subtitle = (
        f"mmsynth_tf {__version__}. Data: {names}. Tested on the {request.split} patients. This page shows some of "
        "their slices, so the terms of their data also hold for the page."
    )
    report.write_report(path, "Experiments with synthetic registered MRI", sections, subtitle)
    return path


def contents_table(workdir: pathlib.Path) -> report.Table:
    """Table of the experiments and whether they were run."""
    rows = []
    for name, experiment in catalogue.EXPERIMENTS.items():
        found = _records(workdir, name)
        state = "measured" if found else f"not run: {_command(name)}"
        rows.append([experiment.title, state, len(found)])
    return report.Table(["experiment", "state", "values"], rows)


def _command(name: str) -> str:
    protocol = " --protocol=paper" if catalogue.EXPERIMENTS[name].only == constants.PAPER else ""
    return f"evaluate.py --experiment={name}{protocol}"


def _records(workdir: pathlib.Path, name: str) -> list[Record]:
    path = pathlib.Path(workdir) / finished.EVALUATION / name / finished.RECORDS_FILE
    return records.read_json(path) if path.is_file() else []


def _experiment_section(name: str, request: study.Request) -> report.Section:
    experiment = catalogue.EXPERIMENTS[name]
    rows = _records(request.workdir, name)
    if not rows:
        return report.Section(experiment.title, f"{experiment.text}\n\nNot run. To run it: {_command(name)}.")
    tables = finished.finished_tables(request.workdir, name)
    draw = getattr(experiment.load(), "report_figures", None)
    return report.Section(
        experiment.title,
        experiment.text,
        tables=[table for table in tables.values() if len(table.rows) <= _FOLDED_ROWS],
        figures=draw(request, rows) if draw else [],
        folded={
            f"{key}: {table.caption}": table.markdown()
            for key, table in tables.items()
            if len(table.rows) > _FOLDED_ROWS
        },
    )


def _no_synthetic_section() -> report.Section:
    return report.Section("Synthetic data", "No data set was given. Name the sets to show with --synthetic_data.")


def _synthetic_sections(request: study.Request) -> list[report.Section]:
    first = request.synthetic[0]
    name = study.data_name(first)
    shown = example_sections.examples_with(first, "train", example_sections.drawn_keys(first, max(_MAPS, _SAMPLES)))
    maps = report.Figure(
        example_sections.structure_maps(shown[:_MAPS]),
        f"Structure maps of {name} with their background masks (tinted).",
    )
    samples = [report.Figure(example_sections.quadruples(shown[:_SAMPLES], first), f"Samples of {name}.")]
    real = example_sections.lesion_slices(request.real, request.split, _SAMPLES)
    if real:
        caption = f"Real slices of {request.split} patients, for comparison."
        samples.append(report.Figure(example_sections.quadruples(real, request.real), caption))
    drawn = f"Drawn at random (seed {example_sections.SEED}), not selected."
    made_records = {study.data_name(data): data.record for data in request.synthetic}
    real_anatomy = prepared.has_real_anatomy(first.record["generation"])
    made = "real slices with an additional lesion" if real_anatomy else "generated modalities"
    return [
        report.Section(f"Structure maps {'of real slices' if real_anatomy else 'from noise'}", drawn, figures=[maps]),
        report.Section(
            "All modalities from one map and one label",
            f"Each row is one sample: its map, its background mask, its label, and the {made}. {drawn}",
            figures=samples,
        ),
        _ranked_section(request.synthetic),
        example_sections.filter_section(made_records),
    ]


def _ranked_section(sets: Sequence[prepared.PreparedData]) -> report.Section:
    """The samples with the highest and the lowest lesion Dice of the segmenters."""
    title = "Best and worst samples"
    rated = [(data, agreement) for data in sets if len(agreement := lesion_agreement(data))]
    if not rated:
        return report.Section(
            title, "The samples have no Dice to rank them by, because they were generated without the lesion filter."
        )
    data, agreement = rated[0]
    best_first = sorted(agreement, key=agreement.get, reverse=True)
    pictures = []
    for name, keys in (("Best", best_first[:_RANKED]), ("Worst", best_first[-_RANKED:])):
        examples = example_sections.examples_with(data, "train", keys)
        scores = [f"{agreement[key]:.2f}" for key in keys]
        picture = example_sections.quadruples(examples, data, row_names=scores)
        pictures.append(report.Figure(picture, f"{name} samples of {study.data_name(data)} with their Dice."))
    text = "Ranked by the mean Dice between the input label and the lesion found by segmenters trained on real slices."
    return report.Section(title, text, figures=pictures)


def lesion_agreement(data: prepared.PreparedData) -> dict[example_sections.Key, float]:
    """Mean Dice of each sample of a synthetic set by its key; only samples with a lesion that were tested."""
    # Without a lesion in label and segmentation the Dice is 1, which would fill the best ranks.
    with_lesion = data.slices("train").filter(lambda x: tf.reduce_any(x["label"] > 0))
    features = ("case_id", "slice_index", "dice")
    rows = with_lesion.map(lambda x: {name: x[name] for name in features}).as_numpy_iterator()
    scores = {example_sections.key_of(x): float(np.mean(x["dice"])) for x in rows}
    return {key: score for key, score in scores.items() if np.isfinite(score)}


def settings_section(request: study.Request) -> report.Section:
    """The full configuration of every stage and every data set."""
    stages = {
        f"{stage}/{run_folder.CONFIG_FILE}": (pathlib.Path(request.workdir) / stage / run_folder.CONFIG_FILE)
        for stage in constants.STAGES
    }
    data_sets = {
        f"{study.data_name(data)}/{constants.DATA_SET_RECORD}": data.path / constants.DATA_SET_RECORD
        for data in request.data_sets
    }
    files = {name: path for name, path in (stages | data_sets).items() if path.is_file()}
    return report.Section(
        "Settings",
        "Configuration, split, thresholds, seeds and hashes of the weights of each stage and data set.",
        folded={name: path.read_text(encoding="utf-8") for name, path in files.items()},
    )
