"""The data card of a synthetic data set: README.md in its folder, from its record and its evaluations.

A picture of the first samples is saved beside it.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.catalogue import EXPERIMENTS
from mmsynth_tf.reading import file_search, splits
from mmsynth_tf.reports import example_sections, finished, lesion_requirement, origin
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage import atomic, records

CARD_FILE, SAMPLES_FILE = "README.md", "samples.png"
_SAMPLES = 8
_MEASURED = tuple(name for name, experiment in EXPERIMENTS.items() if experiment.on_card)

_USE = """For research on methods: pretraining lesion segmenters, augmenting their training data, and testing
programs that need registered, labelled slices. Measure its value for a task on real patients whom no training used.

- The set shows only the variety of its training data: no rare anatomy, other scanners, other lesions or children.
- The lesion filter keeps lesions that segmenters of the same patients find, so easy lesions are over-represented.
- Slices are generated independently; neighbouring samples do not form a volume.
- Labels are real labels, fitted to another head, rotated, scaled and shifted, so lesion shapes come from patients.
"""
_MADE_ANATOMY_USE = """- **Not for clinical use**: no slice shows a patient, and none may be read as one.
- Slices may resemble training slices; see "Measured: memorisation"."""
_REAL_ANATOMY_USE = """- **Not for clinical use**: synthetic lesions lie beside a patient's own, and none may be read as
  a patient's.
- **Except for the synthetic lesions, the images are of training patients.** Protect the set like images of patients,
  and test on other patients only."""

_PASTED_USE = """For research on methods, as a control: do synthetic lesions add anything to moved real lesions? Measure
its value for a task on real patients whom no training used.

- Lesions keep their shapes and textures, and lie near their original position in the head.
- Slices are generated independently; neighbouring samples do not form a volume.
- **Not for clinical use**: pasted lesions lie beside a patient's own, and none may be read as that patient's.
- **The images and the lesions are of training patients.** Protect the set like images of patients, and test on other
  patients only."""

_PAINTED_USE = (
    """For training segmenters beside real slices. Measure its value for a task on real patients whom no
training used.

- Lesions have the shapes of real ones, deformed, and the brightness and texture that statistics of real ones give. They
  lie near their original position in the head, and do not displace tissue.
- Slices are generated independently; neighbouring samples do not form a volume.
"""
    + _REAL_ANATOMY_USE
)


class _WithoutModels(NamedTuple):
    """Texts about sets that no model made."""

    origin: str  # Where the lesions come from.
    source: str  # What the set takes from the real slices.
    making: str
    use: str


_WITHOUT_MODELS = {
    constants.PASTED: _WithoutModels(
        "Lesions were cut out of real slices and pasted into others, in all modalities at once",
        "slices and lesions",
        "Each lesion is scaled, turned, mirrored, changed in contrast, perhaps blurred, and blended into another slice "
        "of the training patients, which may have a lesion of its own.",
        _PASTED_USE,
    ),
    constants.PAINTED: _WithoutModels(
        "Lesions were painted into real slices from the statistics of real ones, in all modalities at once",
        "slices, and shapes and statistics of lesions",
        "The shape of a real lesion is scaled, turned, mirrored, deformed and put into another slice of the training "
        "patients, which may have a lesion of its own. Each class gets the mean brightness of a real lesion, and a "
        "random texture with its covariance over modalities.",
        _PAINTED_USE,
    ),
}


def write(folder: Path, workdir: Path | None = None, name: str | None = None) -> Path:
    """Writes the card of a synthetic data set, and the picture that it shows.

    Args:
      folder: the prepared data set.
      workdir: work directory whose evaluations are quoted where they are of this set.
      name: what the set is called; the folder's name if not given.

    Returns:
      The card's file.

    Raises:
      PreparedDataError: the folder holds no prepared data set.
      UserError: the data set is not synthetic.
    """
    data, name = prepared.open_prepared(folder), name or file_search.as_given(folder).name
    if data.record["source"] != "synthetic":
        raise UserError(f"{folder} is no synthetic data set. Name one that was built with --source=synthetic.")
    _draw_samples(data)
    path = folder / CARD_FILE
    atomic.write_text(path, render(data.record, name, workdir))
    return path


def _draw_samples(data: prepared.PreparedData) -> None:
    shown = example_sections.first_examples(data, splits.TRAIN, _SAMPLES)
    with atomic.atomic_path(data.path / SAMPLES_FILE) as path:
        path.write_bytes(example_sections.quadruples(shown, data))


def render(record: Mapping[str, Any], name: str, workdir: Path | None) -> str:
    """The card as Markdown, see `write`; `record` is the content of data_set.json."""
    generation = record["generation"]
    images = _REAL_ANATOMY_USE if prepared.has_real_anatomy(generation) else _MADE_ANATOMY_USE
    kind = prepared.lesion_kind(generation)
    requirement = {} if kind else {"The paper's requirement": _requirement(name, record)}
    sections = {
        "Contents": _summary(record),
        "Training data and labels": _sources_table(generation).markdown(),
        "Generation and filters": _without_models(generation)
        if kind
        else f"{_filter_table(generation).markdown()}\n{_settings(generation)}",
        "Labels": _label_section(record),
        **requirement,
        **{f"Measured: {experiment}": _measured(experiment, record, name, workdir) for experiment in _MEASURED},
        "Reproducing a sample": _remaking(name, record),
        "Intended use and limits": _WITHOUT_MODELS[kind].use if kind else _USE + images,
        "Licence": _licence(generation),
    }
    body = "\n".join(f"## {title}\n\n{text.strip()}\n" for title, text in sections.items())
    return f"# {name}: synthetic registered slices with lesion labels\n\n**{constants.DISCLAIMER}**\n\n{body}"


def _summary(record: Mapping[str, Any]) -> str:
    data = record["data"]
    rows, columns = data["image_size"]
    origin = "Whole slices were generated from random noise and moved real labels"
    if prepared.has_real_anatomy(record["generation"]):
        origin = "Lesions were generated for moved real labels and inserted into real slices"
    if kind := prepared.lesion_kind(record["generation"]):
        origin = _WITHOUT_MODELS[kind].origin
    return (
        f"{record['statistics']['slices']} axial slices of {rows} × {columns} pixels, each in "
        f"{', '.join(data['modalities'])}, registered, with a lesion label ({', '.join(data['labels'])}), a structure "
        f"map and a background mask (1 outside the head). {origin}, by mmsynth_tf {record['version']} on "
        f"{record['created']}. Use all slices for training only.\n\n"
        "Open the set with `tfds.builder_from_directory` or `mmsynth_tf.prepared.open_prepared`. `data_set.json` holds "
        "the complete record behind this page.\n\n"
        f"![The first samples, one per row: label and modalities]({SAMPLES_FILE})"
    )


def _sources_table(generation: Mapping[str, Any]) -> Table:
    rows = [
        [f"{stage} stage", *origin.cells(record), generation["checkpoints"][stage]]
        for stage, data_records in generation["trained_on"].items()
        for record in data_records
    ]
    header = ["for", *origin.HEADER, "weights (SHA-256)"]
    kind = prepared.lesion_kind(generation)
    labels = _WITHOUT_MODELS[kind].source if kind else "labels"
    labels += ", brightness and texture of lesions (means and covariances)" * generation.get("lesion_looks", False)
    return Table(header, [*rows, [labels, *origin.cells(generation["labels_from"]), ""]])


def _filter_table(generation: Mapping[str, Any]) -> Table:
    settings, closed = generation["settings"], generation["passed_structure_filter"]
    typical = generation["passed_map_filter"]
    rows = [
        ["maps: closed outline (Algorithm 3)", f"mean abs(m' - m) ≤ {settings['mask_error']}", generation["drawn"],
         closed],
        ["maps: similar to real maps", f"quantile {settings['map_quantile']:g} of real ones", closed, typical],
        ["labels: inside the head", "", typical, generation["found_label"]],
        ["labels: with a lesion", "", generation["found_label"], generation["synthesised"]],
        ["slices: segmenters agree with the label", f"mean Dice ≥ {settings['dice_threshold']}",
         generation["synthesised"], generation["passed_lesion_filter"]],
        ["slices without a lesion: as many as keep their share", "", generation["passed_lesion_filter"],
         generation["kept"]],
    ]  # fmt: skip
    # Real maps are not filtered; and without a new lesion a real slice would be a patient's and nothing else.
    rows = rows[2:5] if prepared.has_real_anatomy(generation) else [*rows[:3], *rows[4:]]
    rows = [[*row, f"{row[3] / max(row[2], 1):.1%}"] for row in rows]
    return Table(["filter", "threshold", "tested", "passed", "accepted"], rows)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _without_models(generation: Mapping[str, Any]) -> str:
    return (
        f"{_WITHOUT_MODELS[prepared.lesion_kind(generation)].making} No filter and no model was used.\n\n"
        f"- seed {generation['seed']}\n- software and device: {_listed(generation['made_with'])}\n"
    )


def _settings(generation: Mapping[str, Any]) -> str:
    return (
        f"Counts are over whole blocks of {generation['draws_per_block']} draws; not all samples of the last block may "
        "be in this set.\n\n"
        f"- seed {generation['seed']}\n"
        f"- generation: {_listed(generation['settings'])}\n"
        f"- label transforms: {_listed(generation['augmentation'])}\n"
        f"- software and device: {_listed(generation['made_with'])}\n"
    )


def _label_section(record: Mapping[str, Any]) -> str:
    statistics = record["statistics"]
    slices, pixels, area = statistics["slices"], statistics["pixels"], statistics["lesion_area"]
    total = max(sum(pixels.values()), 1)
    rows = [
        [name, number, f"{number / max(slices, 1):.1%}", f"{pixels[name] / total:.3%}"]
        for name, number in statistics["slices_with"].items()
    ]
    text = Table(["class", "slices with it", "share of slices", "share of pixels"], rows).markdown()
    text += f"\n{statistics['slices_without_lesion']} of {slices} slices have no lesion."
    if area:
        text += (
            f" Lesion area of the others: {area['mean']:.1f} ± {area['sd']:.1f} pixels (mean ± sd), from "
            f"{area['smallest']} to {area['largest']}."
        )
    return text


def _requirement(name: str, record: Mapping[str, Any]) -> str:
    table = lesion_requirement.table({name: record})
    return f"{lesion_requirement.text(record)}\n\n{table.markdown()}"


def _measured(experiment: str, record: Mapping[str, Any], name: str, workdir: Path | None) -> str:
    if workdir and _is_of(workdir / finished.EVALUATION / experiment / finished.RECORDS_FILE, record, name):
        tables = finished.finished_tables(workdir, experiment).values()
        return "\n".join(f"{table.caption}\n\n{table.markdown()}" for table in tables)
    return (
        "Not measured. To measure it and update this page, run:\n\n"
        f"    python evaluate.py --experiment={experiment} --workdir=<workdir> --test_data=<real data> "
        f"--synthetic_data={name}\n"
        f"    mmsynth card --data={name} --workdir=<workdir>"
    )


def _is_of(path: Path, record: Mapping[str, Any], name: str) -> bool:
    """Whether the records of an experiment are of this data set: they name it and are younger than it."""
    if not path.is_file():
        return False
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.timezone.utc)
    if written < datetime.datetime.fromisoformat(record["created"]):
        return False
    return any(name in row.values() for row in records.read_json(path))


def _remaking(name: str, record: Mapping[str, Any]) -> str:
    sample = next(iter(record["split"]["train"]), "synthetic_000000000")
    kind = prepared.lesion_kind(record["generation"])
    workdir = "" if kind else " --workdir=<workdir>"
    return (
        f"The number of a sample, the seed and the {'slices' if kind else 'labels and weights'} above determine it. "
        f"To generate one again:\n\n    mmsynth remake --data={name} --sample={sample}{workdir} "
        "--labels_from=<real data>"
    )


def _licence(generation: Mapping[str, Any]) -> str:
    names = origin.releases(origin.of_generation(generation))
    return f"This set is derived from the data that its models and labels come from:\n\n{origin.terms_list(names)}"
