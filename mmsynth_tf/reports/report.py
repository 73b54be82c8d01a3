"""One self-contained HTML page from sections of text, figures and tables. Opens offline and prints well."""

import base64
import dataclasses
import html
import os
from collections.abc import Sequence

from mmsynth_tf import constants
from mmsynth_tf.storage import atomic

Cell = str | int | float

# Tables with more columns get a smaller font, so that they fit on the page.
_COLUMNS = 7

_STYLE = """
:root { color-scheme: light; }
body { max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem; color: #1d2733; background: #fff;
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #d8dde3; }
p { max-width: 46rem; }
.subtitle, footer, figcaption, caption { color: #5a6775; }
nav ol { columns: 2; padding-left: 1.2rem; font-size: .92rem; }
a { color: #0b5cad; text-decoration: none; } a:hover { text-decoration: underline; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; }
figcaption, caption { font-size: .88rem; margin-top: .35rem; text-align: left; max-width: 46rem; }
caption { caption-side: bottom; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1.2rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #e6e9ed; text-align: left; vertical-align: top; }
table.wide { font-size: .76rem; } table.wide :is(th, td) { padding: .3rem .4rem; }
th { border-bottom: 2px solid #b8c0c9; } td.number { text-align: right; white-space: nowrap; }
pre { background: #f5f7f9; padding: .8rem 1rem; font-size: .78rem; line-height: 1.4; overflow-x: auto; }
summary { cursor: pointer; color: #0b5cad; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid #d8dde3; font-size: .85rem; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 10pt; }
  nav, summary { display: none; } a { color: inherit; }
  .scroll { overflow: visible; } pre { white-space: pre-wrap; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } thead { display: table-header-group; }
}
"""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure with its caption.

    Attributes:
      png: the PNG file's bytes.
      caption: plain text.
    """

    png: bytes
    caption: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text and numbers, the same in HTML, Markdown and LaTeX.

    Attributes:
      header: column names.
      rows: one sequence of cells per row; floats are shown with `digits` decimals.
      caption: plain text.
      digits: decimals of floats.

    Raises:
      ValueError: a row has more or fewer cells than the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    digits: int = 3

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"Table {self.caption!r}: row {list(row)} does not fit columns {list(self.header)}.")

    def texts(self) -> list[list[str]]:
        """The cells as displayed text."""
        return [[self._show(cell) for cell in row] for row in self.rows]

    def markdown(self) -> str:
        lines = [list(self.header), ["---"] * len(self.header), *self.texts()]
        return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)

    def latex(self) -> str:
        """The table as a LaTeX `tabular` with booktabs."""
        header, *body = (
            " & ".join(_escape_latex(cell) for cell in line) + r" \\" for line in [self.header, *self.texts()]
        )
        lines = [
            rf"\begin{{tabular}}{{{'l' * len(self.header)}}}",
            *(r"\toprule", header, r"\midrule", *body, r"\bottomrule"),
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"

    def _show(self, cell: Cell) -> str:
        return f"{cell:.{self.digits}f}" if isinstance(cell, float) else str(cell)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report. Paragraphs come first, then tables, figures and folded text.

    Attributes:
      title: plain text.
      text: plain text; an empty line starts a new paragraph.
      tables: tables.
      figures: figures.
      folded: heading to preformatted text that opens on a click, such as a configuration.
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    folded: dict[str, str] = dataclasses.field(default_factory=dict)


def write_report(path: str | os.PathLike, title: str, sections: Sequence[Section], subtitle: str = "") -> None:
    """Writes the page, atomically.

    Args:
      path: the HTML file; its folder is made if needed.
      title: plain text.
      sections: the parts, in order.
      subtitle: one line below the title, such as the date and the version.
    """
    atomic.write_text(path, render(title, sections, subtitle))


def render(title: str, sections: Sequence[Section], subtitle: str = "") -> str:
    """The page as HTML text, see `write_report`."""
    anchors = [f"section-{number}" for number in range(1, len(sections) + 1)]
    contents = "".join(
        f'<li><a href="#{anchor}">{html.escape(section.title)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "".join(_render_section(anchor, section) for anchor, section in zip(anchors, sections, strict=True))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="subtitle">{html.escape(subtitle)}</p>\n'
        f"<nav><ol>{contents}</ol></nav>\n{body}"
        f"<footer>{html.escape(constants.DISCLAIMER)}</footer>\n</body>\n</html>\n"
    )


def _render_section(anchor: str, section: Section) -> str:
    paragraphs = [part for part in section.text.split("\n\n") if part.strip()]
    return "\n".join(
        [
            f'<section id="{anchor}">',
            f"<h2>{html.escape(section.title)}</h2>",
            *(f"<p>{html.escape(paragraph.strip())}</p>" for paragraph in paragraphs),
            *(_render_table(table) for table in section.tables),
            *(_render_figure(figure) for figure in section.figures),
            *(_render_folded(heading, text) for heading, text in section.folded.items()),
            "</section>\n",
        ]
    )


def _render_table(table: Table) -> str:
    header = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    rows = "".join(
        "<tr>" + "".join(map(_render_cell, row, texts)) + "</tr>\n"
        for row, texts in zip(table.rows, table.texts(), strict=True)
    )
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    kind = ' class="wide"' if len(table.header) > _COLUMNS else ""
    body = f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>"
    return f'<div class="scroll"><table{kind}>{caption}{body}</table></div>'


def _render_cell(cell: Cell, text: str) -> str:
    kind = "" if isinstance(cell, str) else ' class="number"'
    # Lines may break before a deviation or a number of values, but not within.
    return f"<td{kind}>{html.escape(text).replace(' ± ', ' ±&nbsp;')}</td>"


def _render_figure(figure: Figure) -> str:
    data, caption = base64.b64encode(figure.png).decode("ascii"), html.escape(figure.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _render_folded(heading: str, text: str) -> str:
    return f"<details><summary>{html.escape(heading)}</summary><pre>{html.escape(text)}</pre></details>"


_LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX_ESCAPES)
