"""Records as Markdown tables."""

from collections.abc import Mapping, Sequence

from mmsynth_tf.storage.records import Record, Value


def page(sections: Mapping[str, Sequence[Record]], machine: str) -> str:
    """One table a benchmark."""
    parts = ["# Benchmarks", machine]
    parts += [f"## {title}\n\n{table(rows)}" for title, rows in sections.items() if rows]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Record]) -> str:
    """A row a record; a column for each field of the first."""
    columns = list(rows[0])
    lines = [" | ".join(name.replace("_", " ") for name in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row[name]) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Value) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
