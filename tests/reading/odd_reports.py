"""Public reports of inputs that programs of this field read wrongly or not at all, each run against the readers.

The page in docs is written from the table:

    python -m tests.reading.odd_reports > docs/odd_reports.md
"""

from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_report import Report, Setting
from tests.reading.odd_reports_of_contents import FILES, GEOMETRY, LABELS
from tests.reading.odd_reports_of_names import NAMES, PATIENTS

READ, WARNED, _, _ = Outcome

SETTINGS = (
    Setting(
        "keras-team/keras/issues/10516",
        "An empty KERAS_BACKEND counts as the name of a backend.",
        "a network is built and trained with KERAS_BACKEND empty",
        variables={"KERAS_BACKEND": ""},
    ),
    Setting(
        "easybuilders/easybuild-easyconfigs/issues/23163",
        "TensorFlow cannot be imported while a keras.json of old names theano.",
        "the same with such a keras.json",
        keras_file={"backend": "theano"},
    ),
)

GROUPS = {"Labels": LABELS, "Geometry": GEOMETRY, "Files and values": FILES, "Names": NAMES, "Patients": PATIENTS}
REPORTS = tuple(report for group in GROUPS.values() for report in group)


def _row(report: Report | Setting, run: str, verdict: str) -> str:
    return f"| [{report.name}](https://github.com/{report.source}) | {report.fault} | {run} | {verdict} |"


def _verdict(odd: Odd) -> str:
    verdict = {READ: "read right", WARNED: "warned"}.get(odd.outcome, odd.outcome.value)
    return f"{verdict}: {odd.says}" if odd.says else verdict


def page() -> str:
    """The page in docs, Markdown."""
    head = ["", "| Report | What goes wrong there | What is run here | Verdict |", "|---|---|---|---|"]
    lines = [
        "# Public reports, run here",
        "",
        f"{len(REPORTS) + len(SETTINGS)} public reports of inputs that programs of this field read wrongly or not at",
        "all. The tests make the situation of each from a small valid case and assert the verdict; this page is",
        "written from their table by `python -m tests.reading.odd_reports > docs/odd_reports.md`. *Read right* means",
        "intensities in the unit of the image, classes and patients. Further odd cases: [odd_files.md](odd_files.md).",
    ]
    for title, reports in GROUPS.items():
        lines += ["", f"## {title}", *head, *(_row(r, r.odd.name, _verdict(r.odd)) for r in reports)]
    lines += ["", "## Settings", *head, *(_row(s, s.run, "changes nothing") for s in SETTINGS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
