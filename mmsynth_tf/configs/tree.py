"""Reads, changes and writes trees of frozen dataclasses, such as the configuration, by the paths of their leaves."""

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Any

from mmsynth_tf.errors import UserError


def setting(default: Any, text: str, *, trains: str | None = None) -> Any:
    """A field of such a dataclass.

    Args:
      default: its value.
      text: its help text.
      trains: for the weight of a loss term, the group of networks that the term trains.
    """
    factory = {"default_factory": lambda: default} if isinstance(default, dict) else {"default": default}
    return dataclasses.field(metadata={"help": text, "trains": trains}, **factory)


def fields(config: Any, prefix: str = "") -> dict[str, tuple[Any, str]]:
    """All leaves of a configuration: path to (value, help text)."""
    leaves = {}
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            leaves.update(fields(value, path + "."))
        else:
            leaves[path] = value, field.metadata.get("help", "")
    return leaves


def override(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy with the leaves named by `values` (path to value) replaced.

    Raises:
      UserError: a path names no setting.
    """
    known = fields(config)
    unknown = sorted(set(values) - set(known))
    if unknown:
        alike = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(alike)}?" if alike else ""
        raise UserError(f"No such setting: {', '.join(unknown)}.{hint} `train.py --helpfull` lists all settings.")
    changes = {}
    for field in dataclasses.fields(config):
        current = getattr(config, field.name)
        if dataclasses.is_dataclass(current):
            prefix = field.name + "."
            inner = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
            if inner:
                changes[field.name] = override(current, inner)
        elif field.name in values:
            changes[field.name] = _like(current, values[field.name])
    return dataclasses.replace(config, **changes)


def _like(current: Any, value: Any) -> Any:
    """JSON has lists where the configuration has tuples."""
    if isinstance(current, tuple):
        return tuple(value)
    if isinstance(current, dict):
        return {k: tuple(v) for k, v in value.items()}
    return value


def to_json(config: Any) -> str:
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_json(cls: type, text: str) -> Any:
    """Reads what `to_json` wrote.

    Raises:
      ValueError: the text holds a setting that this version does not know, or a value of another type.
    """
    flat, default = {}, cls()

    def flatten(node: Mapping[str, Any], template: Any, prefix: str = "") -> None:
        for key, value in node.items():
            inner = getattr(template, key, None)
            if dataclasses.is_dataclass(inner):
                flatten(value, inner, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    tree = json.loads(text)
    if not isinstance(tree, dict):
        raise ValueError(f"it does not hold settings: {text[:40]!r}")
    flatten(tree, default)
    config = override(default, flat)
    expected = fields(default)
    for path, (value, _) in fields(config).items():
        types = (int, float) if isinstance(expected[path][0], float) else (type(expected[path][0]),)
        if type(value) not in types:
            raise ValueError(f"{path} is {value!r}, but must be of type {types[-1].__name__}")
    return config
