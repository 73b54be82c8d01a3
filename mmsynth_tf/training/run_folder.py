"""The configuration and the training sets of a run, stored in the folder of its stage."""

import dataclasses
import json
import pathlib

from mmsynth_tf import configs
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import WorkDirError
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import checkpoints

CONFIG_FILE = "config.json"
_TRAINED_ON_FILE = "trained_on.json"
# What the run's formulation stood for: another version may understand the same name differently.
_CHOICES_FILE = "choices.json"


def read_config(folder: pathlib.Path) -> configs.Config:
    """The configuration of the run in a stage's folder.

    Raises:
      WorkDirError: there is none, or one of another version.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise WorkDirError(f"{folder} holds no trained stage ({CONFIG_FILE} is missing); run train.py for it first.")
    try:
        return tree.from_json(configs.Config, path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).rstrip(".")
        raise WorkDirError(
            f"{path} is not a configuration of this version: {reason}. Train in another --workdir."
        ) from error


def has_run(stage: str, workdir: str | pathlib.Path) -> bool:
    """Whether the training of a stage was begun in a work directory."""
    return (pathlib.Path(workdir) / stage / CONFIG_FILE).is_file()


def trained_on(stage: str, workdir: str | pathlib.Path) -> list[dict]:
    """The records (data_set.json) of the data sets that a stage was trained on.

    Raises:
      WorkDirError: there are none.
    """
    path = pathlib.Path(workdir) / stage / _TRAINED_ON_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise WorkDirError(
            f"{path} cannot be read ({error}), so the training patients are unknown. Train in another --workdir."
        ) from error


def require_same_run(
    folder: pathlib.Path, config: configs.Config, depends_on: tuple[str, ...], data_records: list[dict]
) -> None:
    """Refuses a stage's folder that holds a run with other settings or on other data.

    Args:
      folder: of the stage.
      config: settings of the run that shall continue there.
      depends_on: prefixes of the settings that change the trained weights.
      data_records: of the data sets that it is trained on.

    Raises:
      WorkDirError: as said.
    """
    if not checkpoints.paths(folder):
        return
    if trained_on(folder.name, folder.parent) != data_records:
        raise WorkDirError(
            f"{folder} holds a run on other data. Continue it with the same --data_dir, or choose another --workdir."
        )
    there, here = tree.fields(read_config(folder)), tree.fields(config)
    differing = [
        f"{name} is {there[name][0]} there, {value} now"
        for name, (value, _) in here.items()
        if name.startswith(depends_on) and there[name][0] != value
    ]
    if differing:
        raise WorkDirError(
            f"{folder} holds a run with other settings ({'; '.join(differing)}). "
            "Continue it with the same settings, or choose another --workdir."
        )
    require_same_choices(folder, config)


def require_same_choices(folder: pathlib.Path, config: configs.Config) -> None:
    """Refuses a stage's folder whose weights were trained with other choices of the same formulation.

    Args:
      folder: of the stage.
      config: of the run there.

    Raises:
      WorkDirError: as said, or the choices are not on record.
    """
    path = folder / _CHOICES_FILE
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        here = json.loads(_choices(folder.name, config))
        differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    except FileNotFoundError:
        differing = ["not on record"]
    except (ValueError, AttributeError) as error:
        raise WorkDirError(f"{path} cannot be read ({error}). Train in another --workdir.") from error
    if differing:
        raise WorkDirError(
            f"Another version of mmsynth_tf trained {folder}, and its formulation made other choices "
            f"({', '.join(differing)}). Train in another --workdir."
        )


def _choices(stage: str, config: configs.Config) -> str:
    return json.dumps(dataclasses.asdict(getattr(config, stage).choices), indent=1)


def describe_run(folder: pathlib.Path, stage: str, config: configs.Config, data_records: list[dict]) -> None:
    """Writes the configuration of a stage, the choices that it stands for, and the records of the training sets."""
    atomic.write_text(folder / _TRAINED_ON_FILE, json.dumps(data_records, indent=1))
    atomic.write_text(folder / _CHOICES_FILE, _choices(stage, config))
    atomic.write_text(folder / CONFIG_FILE, tree.to_json(config))
