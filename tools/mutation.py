"""Changes the package one place at a time and counts the changes that its tests notice (mutation testing).

    pip install -e '.[tests,mutation]'
    python -m tools.mutation --output=mutation.json
    python -m tools.mutation --output=mutation.json --module=mmsynth_tf/reading/geometry.py

Cosmic Ray finds the places. The seed draws some of each folder, or all places of the given modules are taken, with one
change each. Each change is made in a copy of the repository, and tested with the module's own test file and the files
that import it. Changes that survive these are tested with all tests of their folder. The output keeps the results; the
same command continues from it and tests the survivors again.
"""

import argparse
import ast
import functools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cosmic_ray.plugins
import cosmic_ray.work_db
import pytest
import tensorflow  # noqa: F401 (it takes seconds to import, so that is done once, before the processes split off)
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "mmsynth_tf"
# More places of modules with fast tests than of modules that build networks.
PLACES = {"algorithms": 15, "generation": 20, "metrics": 25, "models": 15, "patients": 35, "reading": 35, "stages": 15}
# A change that causes an endless loop also counts as noticed: after this multiple of the tests' time, at least 60 s.
_PATIENCE, _LEAST_SECONDS = 3, 60
# Limit for the tests without any change, seconds.
_LONGEST = 3600

Result = dict[str, str | float]


def tests_of(module: Path) -> list[list[str]]:
    """Tests of a module in order: test files that import it, its own test file first; then all tests of its folder."""
    dotted = ".".join(module.with_suffix("").parts)
    folder = Path("tests") / module.parts[1]
    namesake = folder / f"test_{module.stem}.py"
    importing = [path for path, names in _imports_of_tests().items() if dotted in names or path == namesake]
    own = [path for path in importing if path.parent == folder]
    own.sort(key=lambda path: (path != namesake, path))
    return [[str(path) for path in paths] for paths in (own or importing, [folder]) if paths]


@functools.cache
def _imports_of_tests() -> dict[Path, set[str]]:
    """For each test file the dotted names that it imports; `from a import b` counts as a and as a.b."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        found[path.relative_to(ROOT)] = names
    return found


def draw(paths: Sequence[Path], name: str, seed: int, most: int | None = None) -> list[MutationSpec]:
    """One change of each place in some files, or of at most `most` places; `name` and `seed` decide which."""
    with cosmic_ray.work_db.use_db(":memory:") as database:
        init(paths, database, {})
        changes = [item.mutations[0] for item in database.work_items]
    idle = {path: set(_without_effect(path)) for path in paths}
    changes = [change for change in changes if change.start_pos not in idle[change.module_path]]
    changes.sort(key=lambda change: (str(change.module_path), change.operator_name, change.occurrence))
    random.Random(f"{seed} {name}").shuffle(changes)
    by_place = {(change.module_path, change.start_pos): change for change in changes}
    places = sorted(by_place, key=str)
    count = len(places) if most is None else min(most, len(places))
    return [by_place[place] for place in random.Random(seed).sample(places, count)]


def _draw_folder(folder: str, seed: int) -> list[MutationSpec]:
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / PACKAGE / folder).rglob("*.py"))
    return draw(paths, folder, seed, PLACES[folder])


def _without_effect(path: Path) -> Iterator[tuple[int, int]]:
    """Line and column of everything within type annotations and decorators, of which no result depends."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        annotations = getattr(node, "annotation", None), getattr(node, "returns", None)
        for part in (*annotations, *getattr(node, "decorator_list", ())):
            if part:
                for line in range(part.lineno, part.end_lineno + 1):
                    yield from ((line, column) for column in range(part.col_offset - 1, part.end_col_offset))


def run_tests(tests: list[str], folder: Path, limit: float) -> tuple[str, float]:
    """Runs test files in a process that splits off; whether they "passed" or "failed", and seconds."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.chdir(folder)
        sys.path[0] = os.environ["PYTHONPATH"] = str(folder)
        sys.dont_write_bytecode = True
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(pytest.main(["-x", "-p", "no:cacheprovider", *tests]))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - start
        if ended:
            return ("failed" if status else "passed"), seconds
        if seconds > limit:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "failed", seconds
        time.sleep(0.1)


class Trial:
    """A copy of the repository in which changes are tested."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._usual: dict[tuple[str, ...], float] = {}
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))

    def test(self, change: MutationSpec) -> Result | None:
        """Makes a change and runs the tests; None where the change leaves no Python."""
        operator = cosmic_ray.plugins.get_operator(change.operator_name)(**change.operator_args)
        for tests in tests_of(change.module_path):
            limit = _LEAST_SECONDS + _PATIENCE * self._usual_seconds(tests)
            with use_mutation(self._folder / change.module_path, operator, change.occurrence) as (before, after):
                if not _is_python(after):
                    return None
                outcome, seconds = run_tests(tests, self._folder, limit)
            if outcome == "failed":
                break
        result = "survived" if outcome == "passed" else "noticed"
        return {"result": result, "line": _differing_line(before, after), "seconds": round(seconds, 1)}

    def _usual_seconds(self, tests: list[str]) -> float:
        key = tuple(tests)
        if key not in self._usual:
            outcome, self._usual[key] = run_tests(tests, self._folder, _LONGEST)
            if outcome == "failed":
                raise SystemExit(f"{' '.join(tests)} fails without any change; repair that first.")
        return self._usual[key]


def _is_python(source: str) -> bool:
    """Cosmic Ray takes the * and ** of arguments for products and powers."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", action="append", choices=PLACES, help="only this module; may be given several times"
    )
    parser.add_argument("--module", type=Path, action="append", help="only this test file, instead of folders")
    parser.add_argument("--places", type=int, help="maximum number of changes per module; all if not given")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    os.chdir(ROOT)
    results: dict[str, Result] = json.loads(output.read_text()) if output.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(Path(scratch) / "repository")
        if arguments.module:
            seed, places = arguments.seed, arguments.places
            changes = [change for path in arguments.module for change in draw([path], str(path), seed, places)]
        else:
            changes = [c for folder in arguments.folder or PLACES for c in _draw_folder(folder, arguments.seed)]
        for change in changes:
            operator = change.operator_name.removeprefix("core/")
            name = f"{change.module_path}:{change.start_pos[0]}:{change.start_pos[1]} {operator}"
            if results.get(name, {}).get("result") == "noticed" or not (result := trial.test(change)):
                continue
            results[name] = {"folder": change.module_path.parts[1], **result}
            print(result["result"], name, result["line"], flush=True)
            output.write_text(json.dumps(results, indent=1) + "\n")
    print(_summary(results))


def _differing_line(before: str, after: str) -> str:
    """The first changed line as it becomes."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((new.strip() for old, new in pairs if old != new), "")


def _summary(results: dict[str, Result]) -> str:
    lines = ["| folder | noticed | survived |", "| --- | --- | --- |"]
    for folder in PLACES:
        own = [row["result"] for row in results.values() if row["folder"] == folder]
        lines.append(f"| {folder} | {own.count('noticed')} | {own.count('survived')} |")
    survivors = [f"{name}: {row['line']}" for name, row in results.items() if row["result"] == "survived"]
    return "\n".join([*lines, "", *survivors])


if __name__ == "__main__":
    main()
