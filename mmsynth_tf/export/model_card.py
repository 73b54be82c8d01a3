"""The card, the licence and the checksums of exported models, so that they can be published."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.reports import finished, origin
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import checkpoints

CARD_FILE, LICENCE_FILE, CHECKSUMS_FILE = "README.md", "LICENSE.txt", "SHA256SUMS"

Metadata = Mapping[str, Any]

# Experiment whose scores the card quotes, and the stages that it scores.
_SEGMENTATION = "segmentation"
_SCORED = (constants.JOINT, constants.SEGMENTATION)
# Settings of a stage that tell its size and its length, as far as it has them.
_SHOWN = ("formulation", "design", "steps", "batch_size", "learning_rate", "base_filters")
# Jobs of `mmsynth`: the signature that each needs, and further flags.
_JOBS = {
    "segment": ("segment", "--input=scans/"),
    "translate": ("translate", "--input=scans/"),
    "sample": ("generate", "--count=4"),
}
_PATIENTS = (
    "Patients are told apart by the names of their cases. Names may hide scans of one patient, as the Decathlon's do; "
    "then these scores are too good."
)
_CHUNK = 1 << 20  # Bytes.
_LIMITS = """For research on methods: segmenting lesions, translating between modalities, and generating training data.

- **Not for clinical use**: no result may be read as a patient's, and none may guide a decision about one.
- The models know only their training data: no rare anatomy, other scanners, other lesions or children.
- The networks see single slices. In volumes sampled from noise, details need not go on from slice to slice.
- Slices from noise may resemble training patients. Whether they do is measured with
  `evaluate.py --experiment=memorisation`.
"""


@dataclasses.dataclass(frozen=True)
class _Stages:
    """Data records, weights and settings of the exported stages, by stage."""

    provenance: Mapping[str, Any]

    @property
    def releases(self) -> list[str]:
        return origin.releases(record for stage in self.provenance.values() for record in stage["trained_on"])

    def sources(self) -> Table:
        rows = [
            [stage, *origin.cells(record), values["checkpoint_sha256"]]
            for stage, values in self.provenance.items()
            for record in values["trained_on"]
        ]
        return Table(["stage", *origin.HEADER, "weights (SHA-256)"], rows)

    def settings(self) -> Table:
        chosen = {stage: values["config"][stage] for stage, values in self.provenance.items()}
        rows = [[stage, *(str(own.get(name, "–")) for name in _SHOWN)] for stage, own in chosen.items()]
        return Table(["stage", *(name.replace("_", " ") for name in _SHOWN)], rows)


def write(folder: pathlib.Path, name: str, metadata: Metadata, workdir: pathlib.Path) -> None:
    """Writes card, licence and checksums into a folder that holds everything else.

    Args:
      folder: the exported models.
      name: what they are called.
      metadata: the content of the metadata file.
      workdir: its scores of the exported weights are quoted.
    """
    stages = _Stages(metadata["stages"])
    atomic.write_text(folder / CARD_FILE, render(name, metadata, workdir))
    atomic.write_text(folder / LICENCE_FILE, licence(stages.releases))
    atomic.write_text(folder / CHECKSUMS_FILE, checksums(folder))


def render(name: str, metadata: Metadata, workdir: pathlib.Path) -> str:
    """The card as Markdown; arguments as for `write`."""
    stages = _Stages(metadata["stages"])
    sections = {
        "Contents": _contents(metadata),
        "Use": _use(name, metadata["signatures"]),
        "Training data": stages.sources().markdown(),
        "Settings": f"{stages.settings().markdown()}\n`metadata.json` holds all settings.",
        "Measured": _measured(workdir, metadata["stages"]),
        "Intended use and limits": _LIMITS,
        "Licence": f"{licence(stages.releases)}\n`{LICENCE_FILE}` says the same.",
        "Checksums": f"`sha256sum --check {CHECKSUMS_FILE}` in this folder finds files that are damaged or changed.",
    }
    body = "\n".join(f"## {title}\n\n{text.strip()}\n" for title, text in sections.items())
    return f"# {name}: models of lesions and modalities\n\n**{constants.DISCLAIMER}**\n\n{body}"


def _contents(metadata: Metadata) -> str:
    rows, columns = metadata["image_size"]
    functions = [
        [f"`{name}`", *(", ".join(signature[kind]) for kind in ("inputs", "outputs"))]
        for name, signature in metadata["signatures"].items()
    ]
    return (
        f"A TensorFlow SavedModel for axial slices of {rows} × {columns} pixels in {', '.join(metadata['modalities'])} "
        f"with the classes {', '.join(metadata['label_classes'])}. Written by mmsynth_tf {metadata['version']} with "
        f"TensorFlow {metadata['tensorflow_version']} on {metadata['created']}. `metadata.json` describes every input "
        f"and output, and how slices are prepared.\n\n{Table(['function', 'inputs', 'outputs'], functions).markdown()}"
    )


def _use(name: str, signatures: Mapping[str, Any]) -> str:
    jobs = [
        f"    mmsynth {job} --models={name} {flags} --output={job}/"
        for job, (needed, flags) in _JOBS.items()
        if needed in signatures
    ]
    alone = f'TensorFlow alone can load the folder: `tf.saved_model.load("{name}").signatures`.'
    return "\n".join(["On patients' files, with mmsynth_tf installed:\n", *jobs, "", alone] if jobs else [alone])


def _measured(workdir: pathlib.Path, stages: Mapping[str, Any]) -> str:
    """Scores on test patients, if they are of these weights."""
    path = workdir / finished.EVALUATION / _SEGMENTATION / finished.TABLES_FILE
    newest = [checkpoints.newest(workdir / stage) for stage in stages if stage in _SCORED]
    times = [pathlib.Path(f"{checkpoint}.index").stat().st_mtime for checkpoint in newest if checkpoint]
    if path.is_file() and path.stat().st_mtime >= max(times, default=0.0):
        tables = finished.finished_tables(workdir, _SEGMENTATION).values()
        scores = "\n".join(f"{table.caption}, of test patients.\n\n{table.markdown()}" for table in tables)
        return f"{scores}\n{_PATIENTS}"
    return (
        "Nothing. To measure the segmenters on test patients and quote the scores here, run these and export again:\n\n"
        f"    python evaluate.py --experiment={_SEGMENTATION} --workdir=<workdir> --test_data=<real data>"
    )


def licence(releases: Sequence[str]) -> str:
    """The conditions under which models trained on some releases may be used and shared; plain text."""
    intro = "These weights were trained on the following data, whose terms hold for them as well:"
    licences = {origin.terms(release).licence for release in releases}
    if len(licences) == 1 and (public := next(iter(licences))):
        given = f"The weights are licensed under {public[0]}: {public[1]}"
        changes = "Changes: networks were trained on the data; none of its images is included. There is no warranty."
        return f"{given}\n{changes}\n\n{intro}\n\n{origin.terms_list(releases)}\n"
    return f"{intro}\n\n{origin.terms_list(releases)}\n"


def checksums(folder: pathlib.Path) -> str:
    """SHA-256 of every file of a folder but the list itself, as `sha256sum --check` reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS_FILE)
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}" for path in files]
    return "".join(f"{line}\n" for line in lines)


def _sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
