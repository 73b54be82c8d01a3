"""What a stage's folder says of its run: the configuration, and the data sets that it was trained on."""

import json
import pathlib

from mmsynth_tf import configs
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import WorkDirError
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import checkpoints

CONFIG_FILE = "config.json"
_TRAINED_ON_FILE = "trained_on.json"


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
        raise WorkDirError(f"{path} is not a configuration of this version: {error}") from error


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
            f"{path} cannot be read ({error}), so nobody knows which patients were trained on. Train in another "
            "--workdir."
        ) from error


def require_same_run(
    folder: pathlib.Path, config: configs.Config, depends_on: tuple[str, ...], data_records: list[dict]
) -> None:
    """Refuses a stage's folder that holds a run with other settings or on other data.

    Args:
      folder: of the stage.
      config: settings of the run that is to go on there.
      depends_on: how the paths of settings begin that change what is learned.
      data_records: of the data sets that it is trained on.

    Raises:
      WorkDirError: as said.
    """
    if not checkpoints.paths(folder):
        return
    if trained_on(folder.name, folder.parent) != data_records:
        raise WorkDirError(f"{folder} holds a run on other data. Give it the same --data_dir, or another --workdir.")
    there, here = tree.fields(read_config(folder)), tree.fields(config)
    differing = [
        f"{name} is {there[name][0]} there, {value} now"
        for name, (value, _) in here.items()
        if name.startswith(depends_on) and there[name][0] != value
    ]
    if differing:
        raise WorkDirError(
            f"{folder} holds a run with other settings ({'; '.join(differing)}). "
            "Use the same settings to continue it, or another --workdir."
        )


def describe_run(folder: pathlib.Path, config: configs.Config, data_records: list[dict]) -> None:
    """Writes both files."""
    atomic.write_text(folder / _TRAINED_ON_FILE, json.dumps(data_records, indent=1))
    atomic.write_text(folder / CONFIG_FILE, tree.to_json(config))
