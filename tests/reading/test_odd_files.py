"""Each odd case of the table is read, warned of or refused as it says, and docs say the same."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.cases import Case, CaseError, inspect_case, read_case
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.releases import find_cases, search_cases
from mmsynth_tf.reading.slicing import slice_examples
from mmsynth_tf.reading.splits import split_by_patient
from mmsynth_tf.reading.volumes import VolumeError, read_image
from tests.fakes.fakes_cases import DATA, volumes, write_nifti_case
from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_files import GROUPS, page
from tests.reading.odd_names import two_time_points

PAGE = Path(__file__).resolve().parents[2] / "docs" / "odd_files.md"
ROWS = {f"{group}: {row.name}": row for group, rows in GROUPS.items() for row in rows}
READ = Outcome.READ, Outcome.WARNED, Outcome.UNNOTICED


@pytest.fixture
def valid(tmp_path) -> Path:
    """A folder with the valid case `a`."""
    write_nifti_case(tmp_path / "cases", "a", volumes())
    return tmp_path / "cases"


def read_first(folder: Path) -> tuple[Case | None, list[Problem]]:
    """The first case in a folder, and all problems."""
    found = search_cases(folder, DATA.modalities)
    case, problems = inspect_case(found.cases[0], DATA)
    return case, [*found.problems, *problems]


def slices_of(case: Case) -> dict[str, np.ndarray]:
    examples = list(slice_examples(case, DATA))
    return {name: np.array([e["image"][name] for e in examples]) for name in DATA.modalities} | {
        "label": np.array([e["label"] for e in examples])
    }


def are_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """Half-precision images within what 8 bits can hold, labels exactly."""
    return all(np.allclose(first[name], second[name], rtol=0, atol=0 if name == "label" else 0.01) for name in first)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_odd_case_is_treated_as_the_table_says(valid, row: Odd):
    if row.not_as_root and os.geteuid() == 0:
        pytest.skip("Permissions do not bind root.")
    expected = slices_of(read_first(valid)[0])
    row.mutate(valid)
    try:
        case, problems = read_first(valid)
    except UserError as error:
        assert row.outcome is Outcome.REFUSED, error
        assert row.is_said_by(str(error)), error
        return
    messages = "\n".join(map(str, problems))
    assert (case is not None) == (row.outcome in READ), messages
    assert bool(problems) == (row.outcome in (Outcome.WARNED, Outcome.REFUSED)), messages
    assert any(row.is_said_by(str(problem)) for problem in problems) or not row.says, messages
    if case is not None:
        assert are_equal(slices_of(case), expected) == row.same


def test_table_has_no_duplicates_and_the_page_is_up_to_date():
    assert len(ROWS) == sum(map(len, GROUPS.values()))
    assert PAGE.read_text(encoding="utf-8") == page(), "Run python -m tests.reading.odd_files > docs/odd_files.md"


@pytest.mark.parametrize("seed", range(20))
def test_time_points_of_a_patient_fall_in_one_part(valid, seed):
    two_time_points(valid)
    for case_id in ("Brats18_B_1", "Brats18_C_1"):
        write_nifti_case(valid, case_id, {"t1": volumes()["t1"]})
    cases = find_cases(valid, DATA.modalities)
    split = split_by_patient({case.case_id: case.patient_id for case in cases}, DATA)
    assert any({"Brats18_A_1", "Brats18_A_2"} <= set(part) for part in split.values())


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, mostly in the header, and now and then the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        reach = 352 if rng.random() < 0.8 else len(changed)
        changed[rng.integers(min(reach, len(changed)))] = rng.integers(256)
    return bytes(changed[: rng.integers(len(changed))] if rng.random() < 0.1 else changed)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_random_damage_is_read_or_refused_but_never_breaks_the_reader(valid, rng, packed):
    path = valid / "a" / "a_t2.nii.gz"
    content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    refused = 0
    for _ in range(300):
        path.write_bytes(damaged(content, rng))
        try:
            image = read_image(path)
        except VolumeError:
            refused += 1
        else:
            assert image.array.ndim in (3, 4)
            assert np.isfinite(image.affine).all()
    assert refused > 30


@pytest.mark.parametrize("role", ["t1", "label"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_random_damage_to_a_case_is_told_as_an_error_of_the_case(valid, rng, role):
    path = valid / "a" / ("a_t1.nii.gz" if role == "t1" else "a_seg.nii.gz")
    content = gzip.decompress(path.read_bytes())
    [files] = find_cases(valid, DATA.modalities)
    for _ in range(40):
        path.write_bytes(damaged(content, rng))
        try:
            examples = list(slice_examples(read_case(files, DATA), DATA))
        except CaseError as error:
            assert "Case a, " in str(error)
        else:
            assert all(np.isfinite(pixels).all() for e in examples for pixels in e["image"].values())
