"""Command-line flags for the configuration: ``--preset`` and ``--config.<path>=<value>``. No TensorFlow here."""

import json
from collections.abc import Sequence
from typing import Any

from absl import flags

from mmsynth_tf.configs import config, tree
from mmsynth_tf.configs.presets import PRESETS, preset
from mmsynth_tf.errors import UserError

_PREFIX = "config."


def define_config_flags(further: Sequence[str] = ()) -> None:
    """Defines `--preset` and one flag for each setting; `--helpfull` lists them all.

    Args:
      further: values of `--preset` for which the program gives `config_from_flags` the settings.
    """
    flags.DEFINE_enum("preset", "default", sorted([*PRESETS, *further]), "Settings to start from.")
    for path, (value, text) in tree.fields(config.Config()).items():
        name = _PREFIX + path
        if isinstance(value, bool):
            flags.DEFINE_bool(name, None, text)
        elif isinstance(value, int):
            flags.DEFINE_integer(name, None, text)
        elif isinstance(value, float):
            flags.DEFINE_float(name, None, text)
        elif isinstance(value, tuple):
            flags.DEFINE_list(name, None, text)
        else:
            flags.DEFINE_string(name, None, text)


def config_from_flags(base: config.Config | None = None) -> config.Config:
    """The preset, or `base` in its place, with the settings given on the command line.

    Raises:
      UserError: a list or JSON setting cannot be read.
    """
    base = base or preset(flags.FLAGS.preset)
    values = {}
    for path, (current, _) in tree.fields(base).items():
        given = flags.FLAGS[_PREFIX + path].value
        if given is not None:
            values[path] = _parse(path, current, given)
    return tree.override(base, values)


def given() -> dict[str, str]:
    """The preset, and the settings given on the command line, by flag, for the command line of another program."""
    values = {f"{_PREFIX}{path}": flags.FLAGS[_PREFIX + path].value for path in tree.fields(config.Config())}
    return {"preset": flags.FLAGS.preset} | {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _parse(path: str, current: Any, given: Any) -> Any:
    try:
        if isinstance(current, tuple):
            return tuple(type(current[0])(item) for item in given)
        if isinstance(current, dict):
            return json.loads(given)
    except ValueError as error:
        raise UserError(f"--{_PREFIX}{path}={given}: {error}. An example: {json.dumps(current)}.") from error
    return given
