"""Imports go one way, and configuration needs no TensorFlow."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mmsynth_tf"
# Folders and modules from the ground up: a row may import the rows above it, and the members of a row one another.
LAYERS = (
    {"errors", "constants", "compat", "parallel"},
    {"configs", "storage", "program"},
    {"algorithms", "models", "reading", "prepared"},
    {"input_pipeline", "reports"},
    {"stages"},
    {"metrics", "training"},
    {"export", "generation", "experiments"},
    {"patients", "demo"},
    {"cli"},
)
LIGHT_MODULES = ("constants", "errors", "configs", "configs.flags")


def imported_names(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere; `from a import b` counts as a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def dotted(path: Path) -> str:
    """A module's name within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


PATHS = {dotted(path): path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"}


def own_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports."""
    names = {name.removeprefix("mmsynth_tf.") for name in imported_names(path) if name.startswith("mmsynth_tf.")}
    # A name may be a module, or something in one.
    return {name if name in PATHS else name.rpartition(".")[0] for name in names} & set(PATHS)


IMPORTS = {name: own_imports(path) for name, path in PATHS.items()}


def test_there_are_no_cycles():
    graphlib.TopologicalSorter(IMPORTS).prepare()


def layer(name: str) -> int:
    """The row of a module of the package."""
    top = name.split(".")[0]
    return next(row for row, members in enumerate(LAYERS) if top in members)


@pytest.mark.parametrize("name", PATHS)
def test_no_import_runs_up(name):
    assert not {imported for imported in IMPORTS[name] if layer(imported) > layer(name)}


def test_every_folder_has_a_layer_and_every_layer_is_there():
    assert {name.split(".")[0] for name in PATHS} == set().union(*LAYERS)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_library_never_imports_data_set_builders(path):
    assert "datasets" not in {name.split(".")[0] for name in imported_names(path)}


OTHERS = [
    path
    for folder in (PACKAGE, *(PACKAGE.parent / name for name in ("benchmarks", "datasets", "tools")))
    for path in folder.rglob("*.py")
]


@pytest.mark.parametrize("path", [*PACKAGE.parent.glob("*.py"), *OTHERS], ids=str)
def test_nothing_outside_the_tests_imports_them(path):
    assert "tests" not in {name.split(".")[0] for name in imported_names(path)}


@pytest.mark.parametrize("module", [name for name, path in PATHS.items() if "tf.keras.layers." in path.read_text()])
def test_modules_with_layers_import_what_frees_them_from_the_users_keras_file(module):
    reached, new = set(), {module}
    while new:
        reached |= new
        new = set().union(*(IMPORTS[name] for name in new)) - reached
    assert "compat" in reached


def test_only_programs_read_flags():
    programs = {"program", "configs.flags", "configs.path_flags", "cli", "demo", "export"}
    for name, path in PATHS.items():
        if any("absl.flags" in imported for imported in imported_names(path)):
            assert name in programs or name.split(".")[0] in programs, name


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_configuration_is_imported_without_tensorflow(module):
    code = f"import sys, mmsynth_tf.{module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode == 0
