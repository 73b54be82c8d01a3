"""Cells and tables of result pages, from rows of records."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def matching(rows: Iterable[Row], **wanted: str) -> Iterable[Row]:
    return (row for row in rows if all(row[name] == value for name, value in wanted.items()))


def values(rows: Iterable[Row]) -> list[float]:
    return [float(row["value"]) for row in rows]


def each(values: Sequence[float]) -> str:
    """Values of the modalities, and their mean."""
    return f"{' / '.join(f'{value:.3f}' for value in values)}, mean {np.mean(values):.3f}"


def number(cell: str) -> float:
    """Of a cell such as "0.674 ± 0.19"."""
    return float(cell.split()[0])


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = (header, ["---"] * len(header), *body)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def p_text(differences: Sequence[float]) -> str:
    """Two-sided Wilcoxon signed-rank test."""
    value = float(stats.wilcoxon(differences).pvalue)
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def cell(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
