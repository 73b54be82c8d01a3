"""Functions fit on a screen."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_LINES = 45
SOURCES = [
    *(REPOSITORY / "mmsynth_tf").rglob("*.py"),
    *(REPOSITORY / "datasets").rglob("*.py"),
    REPOSITORY / "train.py",
    REPOSITORY / "evaluate.py",
]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name of each function and method of a file, and its lines without the docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            docstring = first.end_lineno - first.lineno + 1 if documented else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_function_is_longer_than_a_screen(path):
    assert not {name: lines for name, lines in functions(path) if lines > MOST_LINES}
