"""Plots for reports as PNG bytes, drawn by Matplotlib's Agg renderer from NumPy arrays and names."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmsynth_tf.reports.figures import FONT_POINTS, LABEL_COLOURS, png

LINE_STYLES = ("-", "--", ":", "-.")


def training_curves(
    curves: Mapping[str, np.ndarray],
    x: str = "step",
    panels: Mapping[str, Sequence[str]] | None = None,
    columns: int = 3,
) -> bytes:
    """Columns of a training log against the step.

    Args:
      curves: column name to float [rows]; NaN where a row has no value.
      x: name of the column on the horizontal axis.
      panels: title of each panel to its columns; by default one panel for each column.
      columns: panels in a row.

    Returns:
      PNG.

    Raises:
      ValueError: a requested column is not in the log.
    """
    panels = panels or {name: (name,) for name in curves if name != x}
    missing = sorted(({x} | {name for names in panels.values() for name in names}) - set(curves))
    if missing:
        raise ValueError(f"The log has no column {', '.join(missing)}; it has {', '.join(curves)}.")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (title, names) in zip(axes.flat, panels.items(), strict=False):
        _plot_curves(ax, curves, x, names)
        ax.set_title(title, fontsize=FONT_POINTS)
    return png(figure)


def points_with_errors(
    names: Sequence[str],
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    axis_name: str,
    baseline: int | None = None,
    repetitions: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> bytes:
    """A table as a plot: rows on the vertical axis, a point with an error bar for each series.

    Args:
      names: R row names, top to bottom.
      series: name (such as a region) to (value [R], error [R]); NaN where a row has none.
      axis_name: label of the horizontal axis.
      baseline: index of the row whose values are drawn as vertical lines.
      repetitions: name to the single values of each row, R arrays of any length, drawn as small hollow points.

    Returns:
      PNG.
    """
    figure = Figure(figsize=(6.4, 0.8 + 0.26 * len(names)), layout="constrained")
    ax = figure.subplots()
    rows = np.arange(len(names))
    offsets = np.linspace(-0.2, 0.2, len(series)) if len(series) > 1 else np.zeros(1)
    for index, (name, (values, errors)) in enumerate(series.items()):
        colour = LABEL_COLOURS[(0, 3, 4, 2, 5, 6, 1)[index % len(LABEL_COLOURS)]]
        marker = "osD^v"[index % 5]
        ax.errorbar(values, rows + offsets[index], xerr=errors, fmt=marker, color=colour, ms=4, lw=1, label=name)
        for row, single in zip(rows, (repetitions or {}).get(name, ()), strict=False):
            heights = np.full(len(single), row + offsets[index])
            ax.plot(single, heights, "o", mfc="none", mec=colour, mew=0.6, ms=6)
        if baseline is not None:
            ax.axvline(values[baseline], color=colour, lw=0.8, ls=LINE_STYLES[1])
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(axis_name, fontsize=FONT_POINTS)
    _tidy(ax)
    if len(series) > 1:
        figure.legend(loc="outside lower center", ncols=len(series), fontsize=FONT_POINTS, frameon=False)
    return png(figure)


def lines_with_errors(panels: Mapping[str, Mapping[str, np.ndarray]], x_name: str, y_name: str) -> bytes:
    """Lines with error bars, a panel beside the other.

    Args:
      panels: title to the lines by name: float [4, P], x, y, and the lower and upper end of the error bar.
      x_name: label of the horizontal axes.
      y_name: label of the first vertical axis.

    Returns:
      PNG.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    figure = Figure(figsize=(2.8 * len(panels), 3.0), layout="constrained")
    handles = {}
    for ax, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, (x, y, low, high) in lines.items():
            index = names.index(name)
            colour = LABEL_COLOURS[(0, 3, 4, 2, 5, 6, 1)[index % len(LABEL_COLOURS)]]
            # Error bars at one place would hide each other.
            x = x + 0.1 * (index - (len(names) - 1) / 2)
            errors = np.maximum([y - low, high - y], 0.0)
            line = ax.errorbar(x, y, yerr=errors, fmt=f"-{'osD^v'[index % 5]}", color=colour, ms=4, lw=1)
            handles.setdefault(name, line)
        ax.set_title(title, fontsize=FONT_POINTS)
        ax.set_xlabel(x_name, fontsize=FONT_POINTS)
        _tidy(ax)
    figure.axes[0].set_ylabel(y_name, fontsize=FONT_POINTS)
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=len(handles), fontsize=FONT_POINTS, frameon=False
    )
    return png(figure)


def histograms(
    series: Mapping[str, np.ndarray], axis_name: str, marks: Mapping[str, float] | None = None, bins: int = 40
) -> bytes:
    """Overlaid histograms of relative frequencies, so that sets of different size can be compared.

    Args:
      series: name to values [N]; only finite values are drawn.
      axis_name: label of the horizontal axis.
      marks: name to a value that is drawn as a vertical line.
      bins: number of bins, the same for all.

    Returns:
      PNG.
    """
    series = {name: values[np.isfinite(values)] for name, values in series.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(series.values())), bins)
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    ax = figure.subplots()
    for index, (name, values) in enumerate(series.items()):
        colour, style = LABEL_COLOURS[(0, 3, 4, 2)[index % 4]], LINE_STYLES[index // 4 % len(LINE_STYLES)]
        shares = np.histogram(values, edges)[0] / max(len(values), 1)
        ax.stairs(shares, edges, color=colour, ls=style, lw=1.4, label=f"{name} (n={len(values)})")
    for index, (name, value) in enumerate((marks or {}).items()):
        ax.axvline(value, color="#444444", lw=0.9, ls=LINE_STYLES[1 + index % 3], label=name)
    ax.set_xlabel(axis_name, fontsize=FONT_POINTS)
    ax.set_ylabel("share", fontsize=FONT_POINTS)
    _tidy(ax)
    ax.legend(fontsize=FONT_POINTS - 1, frameon=False)
    return png(figure)


def _plot_curves(ax: Axes, curves: Mapping[str, np.ndarray], x: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        known = ~np.isnan(curves[name])
        colour, style = LABEL_COLOURS[(0, 3, 4, 2)[index % 4]], LINE_STYLES[index // 4 % len(LINE_STYLES)]
        ax.plot(curves[x][known], curves[name][known], color=colour, ls=style, lw=1.2, label=name)
    ax.set_xlabel(x, fontsize=FONT_POINTS)
    _tidy(ax)
    if len(names) > 1:
        ax.legend(fontsize=FONT_POINTS - 2, frameon=False)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#e3e6ea", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=FONT_POINTS - 1, length=2)
