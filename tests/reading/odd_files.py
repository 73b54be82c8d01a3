"""The table of odd cases: how each is made from a valid one, and what the readers do with it.

The page in docs is written from the table:

    python -m tests.reading.odd_files > docs/odd_files.md
"""

from tests.reading.odd_contents import FILES, GEOMETRY, LABELS, SHAPES, VALUES
from tests.reading.odd_names import NAMES

GROUPS = {
    "Files": FILES,
    "Shapes": SHAPES,
    "Geometry": GEOMETRY,
    "Values": VALUES,
    "Labels": LABELS,
    "Names and folders": NAMES,
}


def page() -> str:
    """The page in docs, Markdown."""
    lines = [
        "# Odd files, and what happens to them",
        "",
        "The tests make each of these cases from a valid one and compare; this page is written from their table by",
        "`python -m tests.reading.odd_files > docs/odd_files.md`. "
        "What is refused names the case, the file and a remedy.",
        "*Read* means that the slices are those of the valid case. *Not noticed* is what no reader can notice: look at",
        "your images. `datasets/build.py --check` prints the errors and warnings of all cases in one table.",
    ]
    for title, rows in GROUPS.items():
        lines += ["", f"## {title}", "", "| What is odd | What happens | What is said |", "|---|---|---|"]
        lines += [f"| {row.name} | {row.outcome.value} | {row.says} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
