"""What public reports tell of is read, warned of or refused here as the table says, and docs say the same."""

import json
from pathlib import Path

import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.cases import Case, inspect_case
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.releases import search_cases
from tests.fakes.fakes_cases import DATA, volumes, write_nifti_case
from tests.programs import test_environment
from tests.reading.odd_case import Outcome
from tests.reading.odd_report import Report, Setting
from tests.reading.odd_reports import REPORTS, SETTINGS, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "odd_reports.md"


def read_first(folder: Path) -> tuple[Case | None, list[Problem], dict[str, str]]:
    """The first case in a folder, all problems, and the patient of each case."""
    found = search_cases(folder, DATA.modalities)
    case, problems = inspect_case(found.cases[0], DATA)
    return case, [*found.problems, *problems], {files.case_id: files.patient_id for files in found.cases}


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_report_is_treated_as_the_table_says(tmp_path, report: Report):
    if report.needs_itk:
        pytest.importorskip("SimpleITK")
    write_nifti_case(tmp_path / "cases", "a", volumes())
    valid, _, _ = read_first(tmp_path / "cases")
    report.odd.mutate(tmp_path / "cases")
    try:
        case, problems, patients = read_first(tmp_path / "cases")
    except UserError as error:
        assert report.odd.outcome is Outcome.REFUSED, error
        assert report.odd.is_said_by(str(error)), error
        return
    messages = "\n".join(map(str, problems))
    assert (case is None) == (report.odd.outcome is Outcome.REFUSED), messages
    assert bool(problems) == (report.odd.outcome is not Outcome.READ), messages
    assert any(report.odd.is_said_by(str(problem)) for problem in problems) or not report.odd.says, messages
    assert case is None or report.holds(valid, case)
    assert report.patients in (None, patients)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_setting_of_a_report_changes_nothing(tmp_path, setting: Setting):
    if setting.keras_file:
        (tmp_path / "keras.json").write_text(json.dumps(setting.keras_file))
    assert test_environment.output(tmp_path, dict(setting.variables)) == "(8, 8, 5) float32 1e-07 4"


def test_the_table_has_thirty_reports_or_more_none_of_them_twice_and_the_page_is_up_to_date():
    sources = [report.source for report in (*REPORTS, *SETTINGS)]
    assert len(set(sources)) == len(sources) >= 30
    assert PAGE.read_text(encoding="utf-8") == page(), "Run python -m tests.reading.odd_reports > docs/odd_reports.md"
