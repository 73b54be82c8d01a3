"""The page of all settings, written from their definitions:

python -m tests.configs.settings_page > docs/settings.md
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree

_OTHERS = ("workstation", "cpu", "demo", "paper")
_FORMULATIONS = {
    constants.STRUCTURE: (constants.MEASURED, constants.PAPER),
    constants.SEGMENTATION: (constants.MEASURED, constants.PAPER),
    constants.SYNTHESIS: (constants.MEASURED, constants.UNREGISTERED, constants.PAPER),
}
_INTRODUCTION = """# Settings

Every setting is a flag of the programs: `--config.<setting>=<value>`. Tuples are given with commas, dictionaries as
JSON. `--preset` sets several at once: `demo`, `cpu`, `workstation` and `default` differ in sizes and lengths, and
`paper` follows the draft. An empty cell means that the preset keeps the default. The defaults are the values that
[measured best](experiments/README.md). A `formulation` of a stage stands for several choices, which are listed below
its settings.

This page is written from `mmsynth_tf/configs/` by `python -m tests.configs.settings_page > docs/settings.md`.
There are {settings} settings and {weights} loss weights. A weight of 0 computes nothing.
"""


def page() -> str:
    """The page in docs, Markdown."""
    default = configs.Config()
    paths = list(tree.fields(default))
    weights = [path for path in paths if ".weights." in path]
    parts = [_INTRODUCTION.format(settings=len(paths) - len(weights), weights=len(weights))]
    for field in dataclasses.fields(default):
        section = getattr(default, field.name)
        parts.append(f"## {field.name}\n\n{type(section).__doc__.splitlines()[0]}\n\n{_settings(field.name)}")
        if field.name in _FORMULATIONS:
            parts.append(
                f"What the formulations of this stage choose:\n\n{_choices(section, _FORMULATIONS[field.name])}"
            )
    return "\n".join(parts)


def _settings(section: str) -> str:
    """A section's settings, with the values that presets give them."""
    default = tree.fields(configs.Config())
    others = {name: tree.fields(configs.preset(name)) for name in _OTHERS}
    rows = [
        [f"`{path}`", _text(value), *(_text(others[name][path][0], value) for name in _OTHERS), meaning]
        for path, (value, meaning) in default.items()
        if path.startswith(f"{section}.")
    ]
    return _table(["setting", "default", *_OTHERS, "meaning"], rows)


def _choices(stage: configs.StageConfig, names: tuple[str, ...]) -> str:
    """What these formulations of a stage choose; loss weights that depend on it are among the choices."""
    columns = [dict(_leaves(dataclasses.replace(stage, formulation=name).choices)) for name in names]
    return _table(["choice", *names], [[f"`{key}`", *(_text(c[key]) for c in columns)] for key in columns[0]])


def _leaves(choices: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(choices):
        value = getattr(choices, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def _text(value: Any, default: Any = None) -> str:
    """A value as a cell; nothing where it is the default."""
    if value == default and type(value) is type(default):
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(part)}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
