"""Functions fit on a screen, the package has few rooms, and its largest class stays readable."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_LINES = 45
MOST_TOP_LEVEL_MODULES = 8
MOST_LINES_OF_MODALITY_GAN = 230
SOURCES = [
    *(REPOSITORY / "mmsynth_tf").rglob("*.py"),
    *(REPOSITORY / "datasets").rglob("*.py"),
    REPOSITORY / "train.py",
    REPOSITORY / "evaluate.py",
]


def lines_of(node: ast.FunctionDef | ast.ClassDef) -> int:
    """Lines without the docstring."""
    first = node.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
    return node.end_lineno - node.lineno + 1 - docstring


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name of each function and method of a file, and its lines without the docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node.name, lines_of(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_function_is_longer_than_a_screen(path):
    assert not {name: lines for name, lines in functions(path) if lines > MOST_LINES}


def test_the_package_has_few_modules_at_its_top():
    assert len(list((REPOSITORY / "mmsynth_tf").glob("*.py"))) <= MOST_TOP_LEVEL_MODULES


def test_the_modality_gan_stays_readable():
    module = ast.parse((REPOSITORY / "mmsynth_tf/stages/synthesis/gan.py").read_text(encoding="utf-8"))
    [gan] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "ModalityGAN"]
    assert lines_of(gan) <= MOST_LINES_OF_MODALITY_GAN
