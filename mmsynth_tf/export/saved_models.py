"""Exports trained stages as one SavedModel, and loads it again.

The folder holds a SavedModel with named signatures, which needs TensorFlow but
not this package. A metadata file describes the signatures' inputs, outputs and
origin; a card, a licence and checksums lie beside it.
"""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from mmsynth_tf import __version__, configs, constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.export import model_card
from mmsynth_tf.export import signatures as export_signatures
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.reading import file_search, scaling
from mmsynth_tf.stages.structure.gan import BACKGROUND_THRESHOLD, STRUCTURE_THRESHOLD
from mmsynth_tf.storage import atomic, plain_paths
from mmsynth_tf.training import checkpoints, run_folder, runs

METADATA_FILE = "metadata.json"
# Grows when a reader of the other format would misunderstand the folder.
FORMAT_VERSION = 2

_COMMAND = "python -m mmsynth_tf.export"


class ExportError(UserError):
    """A folder cannot be exported to, or holds no exported models that can be used."""


@dataclasses.dataclass(frozen=True)
class ExportedModels:
    """The exported models that `load_exported` returns.

    Attributes:
      signatures: functions by name; each takes its inputs as keywords and returns its outputs by name.
      metadata: the content of the metadata file.
    """

    signatures: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    metadata: Mapping[str, Any]
    _owner: Any = dataclasses.field(repr=False)  # The signatures' variables live as long as this.


def export(workdir: str | pathlib.Path, output: str | pathlib.Path, overwrite: bool = False) -> dict[str, Any]:
    """Exports the stages that are trained in a work directory, with their averaged weights.

    Args:
      workdir: holds at least one trained stage.
      output: folder to make.
      overwrite: replace `output` if it holds exported models.

    Returns:
      The content of the metadata file.

    Raises:
      ExportError: nothing is trained, the stages do not fit each other, or `output` holds something else.
      UserError: `output` exists, or cannot be written.
    """
    workdir, output = pathlib.Path(workdir), pathlib.Path(output)
    with atomic.new_folder(output, METADATA_FILE, overwrite) as folder:
        hashes = checkpoints.checkpoint_hashes(workdir)
        stages = _load_stages(workdir, list(hashes))
        models = {stage: model for stage, (model, _) in stages.items()}
        settings = {stage: config for stage, (_, config) in stages.items()}
        # Translation belongs to the synthesis stage; without it it is not used.
        config = settings.get(constants.SYNTHESIS) or next(iter(settings.values()))
        functions = export_signatures.Signatures(models, config.data, config.translation).trace()
        save(functions, folder)
        metadata = {
            **_describe_format(config.data),
            "latent_dim": models[constants.STRUCTURE].code_dim if constants.STRUCTURE in models else None,
            "signatures": {name: export_signatures.describe(function) for name, function in functions.items()},
            "stages": _provenance(workdir, settings, hashes),
        }
        atomic.write_text(folder / METADATA_FILE, json.dumps(metadata, indent=1) + "\n")
        model_card.write(folder, file_search.as_given(output).name, metadata, workdir)
    return metadata


def is_export_of(workdir: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether a folder holds the newest weights of every stage that is trained in a work directory."""
    if not (path / METADATA_FILE).is_file():
        return False
    exported = {stage: values["checkpoint_sha256"] for stage, values in _read_metadata(path)["stages"].items()}
    return exported == checkpoints.checkpoint_hashes(workdir)


def save(functions: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes traced functions as a SavedModel with these signatures."""
    module = tf.Module()
    # Only what the functions use, each once: no discriminators, nothing of Keras.
    module.weights = list({id(v): v for f in functions.values() for v in f.variables}.values())
    tf.saved_model.save(module, str(folder), signatures=functions)


def load_exported(path: str | pathlib.Path) -> ExportedModels:
    """Loads what `export` wrote.

    Raises:
      ExportError: the folder holds no exported models, or none that this version can use.
    """
    path = pathlib.Path(path)
    metadata = _read_metadata(path)
    try:
        loaded = tf.saved_model.load(str(plain_paths.plain(path)))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ExportError(
            f"{path} holds no SavedModel that can be loaded ({error}). Export the models again."
        ) from error
    missing = sorted(set(metadata["signatures"]) - set(getattr(loaded, "signatures", ())))
    if missing:
        raise ExportError(
            f"The SavedModel in {path} lacks {', '.join(missing)}, which {METADATA_FILE} names. Export it again."
        )
    functions = {name: loaded.signatures[name] for name in metadata["signatures"]}
    return ExportedModels(functions, metadata, loaded)


def _read_metadata(path: pathlib.Path) -> dict[str, Any]:
    file = path / METADATA_FILE
    if not file.is_file():
        raise ExportError(f"{path} holds no exported models ({METADATA_FILE} is missing); write them with {_COMMAND}.")
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
        version = int(metadata["format_version"])
        dict(metadata["signatures"])
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{file} does not describe exported models ({type(error).__name__}: {error}). Export the models again."
        ) from error
    if version != FORMAT_VERSION:
        remedy = "Install a newer mmsynth_tf." if version > FORMAT_VERSION else f"Write it again with {_COMMAND}."
        raise ExportError(
            f"mmsynth_tf {metadata.get('version')} wrote {path} in format {version}, but mmsynth_tf {__version__} "
            f"reads format {FORMAT_VERSION}. {remedy}"
        )
    return metadata


def _load_stages(workdir: pathlib.Path, names: Sequence[str]) -> dict[str, tuple[StageModel, configs.Config]]:
    """The named stages, all trained for the same kind of slices."""
    if not names:
        raise ExportError(f"{workdir} holds no trained stage; run train.py with --workdir={workdir} first.")
    stages = {name: runs.load(name, workdir) for name in names}
    first = stages[names[0]][1].data
    for name in names[1:]:
        differing = prepared.geometry_differences(stages[name][1].data, first, f"stage {names[0]}")
        if differing:
            raise ExportError(
                f"Stage {name} in {workdir} was trained on slices of another format: {'; '.join(differing)}. "
                "Train all stages on data sets built with the same settings."
            )
    return stages


def _describe_format(data: configs.DataConfig) -> dict[str, Any]:
    """The properties of the signatures that their user needs."""
    return {
        "format_version": FORMAT_VERSION,
        "disclaimer": constants.DISCLAIMER,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "tensorflow_version": tf.__version__,
        "image_size": data.image_size,
        "modalities": data.modalities,
        "label_classes": data.labels,
        "regions": data.regions,
        "background_polarity": "1 outside the head, 0 inside",
        "thresholds": {"structure": STRUCTURE_THRESHOLD, "background": BACKGROUND_THRESHOLD},
        "preprocessing": {
            "orientation": "axial slices; row 0 is anterior, column 0 is the patient's right",
            "voxel_mm": data.voxel_mm,
            "crop_rows": data.crop_rows,
            "crop_columns": data.crop_columns,
            "resized_to": data.image_size,
            "slices": data.slices,
            "percentiles": data.percentiles,
            "median": data.median,
            "foreground_min": scaling.FOREGROUND_MIN,
            "intensities": (
                "Per volume: the head is where a voxel differs from the most frequent value on the volume's faces. "
                "The percentiles of the head map to 0 and 1. Unless median is 0, a gamma correction then maps the "
                "head's median, clipped to [0.1, 0.9], to it. Values in the head are clipped to [foreground_min, 1]; "
                "outside the head they are 0. Scaling precedes cropping and resizing (by area when shrinking)."
            ),
        },
    }


def _provenance(
    workdir: pathlib.Path, settings: Mapping[str, configs.Config], hashes: Mapping[str, str]
) -> dict[str, Any]:
    return {
        stage: {
            "checkpoint_sha256": hashes[stage],
            "trained_on": run_folder.trained_on(stage, workdir),
            "config": dataclasses.asdict(config),
        }
        for stage, config in settings.items()
    }
