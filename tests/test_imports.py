"""Imports go one way, and configuration needs no TensorFlow."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mmsynth_tf"
# The method itself, from the bottom up: a module may import those of earlier rows alone.
METHOD = (
    {"constants", "compat", "commands"},
    {"config_tree"},
    {"stage_configs"},
    {"configs"},
    {
        "models.structure",
        "models.losses",
        "models.layers",
        "models.pairs",
        "models.passes",
        "models.guided_filter",
        "generation.contour_filter",
    },
    {"models.fusion", "models.networks", "models.discriminators", "models.contrast", "models.code_flow"},
    {"models.stage", "models.lesion_processor"},
    {"models.modality_losses"},
    {"models.structure_gan", "models.modality_gan", "models.segmenter"},
    {"input_pipeline"},
)
LIGHT_MODULES = ("constants", "configs", "stage_configs", "config_tree", "presets", "flags_config")


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


@pytest.mark.parametrize("row", range(len(METHOD)))
def test_the_method_imports_only_what_lies_below(row):
    below = set().union(*METHOD[:row])
    for module in METHOD[row]:
        assert IMPORTS[module] <= below, module


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_library_never_imports_data_set_builders_or_tests(path):
    packages = {name.split(".")[0] for name in imported_names(path)}
    assert not packages & {"datasets", "tests"}


@pytest.mark.parametrize("module", [name for name, path in PATHS.items() if "tf.keras.layers." in path.read_text()])
def test_modules_with_layers_import_what_frees_them_from_the_users_keras_file(module):
    reached, new = set(), {module}
    while new:
        reached |= new
        new = set().union(*(IMPORTS[name] for name in new)) - reached
    assert "compat" in reached


def test_models_read_no_flags():
    for module in set().union(*METHOD):
        assert not {name for name in imported_names(PATHS[module]) if name.startswith("absl.flags")}, module


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_configuration_is_imported_without_tensorflow(module):
    code = f"import sys, mmsynth_tf.{module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode == 0
