"""Reads all cases and reports their problems, without writing anything."""

from collections.abc import Sequence

from tqdm import tqdm

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.parallel import map_in_order
from mmsynth_tf.reading import geometry
from mmsynth_tf.reading.cases import inspect_case
from mmsynth_tf.reading.problems import Problem
from mmsynth_tf.reading.releases import Found
from mmsynth_tf.reading.splits import split_by_patient


def check_cases(found: Found, data: DataConfig, allow_incomplete: bool) -> list[Problem]:
    """All problems of the cases, in the order of the cases, then those of the split and of the folder."""
    cases = found.cases
    inspections = map_in_order(lambda files: inspect_case(files, data, allow_incomplete)[1], cases)
    problems = [p for case in tqdm(inspections, "Checking cases", len(cases), unit="case") for p in case]
    try:
        split_by_patient({case.case_id: case.patient_id for case in cases}, data)
    except UserError as error:
        problems.append(Problem("all", "-", str(error).rstrip("."), "Change the fractions, or add patients"))
    return [*problems, *_slice_problems(data), *found.problems]


def _slice_problems(data: DataConfig) -> list[Problem]:
    """Problems of the configured slices that do not depend on the cases."""
    finding = geometry.pixel_finding(data)
    return [Problem("all", "-", finding.text, finding.remedy, is_warning=True)] if finding else []


def problem_table(problems: Sequence[Problem]) -> str:
    """One row for each problem, with aligned columns."""
    rows = [("", "case", "file", "problem", "remedy")]
    rows += [("warning" if p.is_warning else "ERROR", p.case_id, p.file, p.text, p.remedy) for p in problems]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
