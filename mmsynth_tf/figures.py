"""Figures of the report, with Matplotlib's Agg renderer. NumPy arrays and names in, PNG bytes out.

Images are float [0, 1], row 0 anterior and column 0 the patient's right. Label
colours tell apart under colour blindness (Okabe and Ito, 2008).
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Labels 1, 2, 3, ...; label 0 is never drawn. Later labels start over.
LABEL_COLOURS = ("#0072b2", "#f0e442", "#cc79a7", "#d55e00", "#009e73", "#56b4e9", "#e69f00")
OUTSIDE_COLOUR = "#33475b"
LINE_STYLES = ("-", "--", ":", "-.")

_CELL_INCHES = 1.25
_DPI = 144
_FONT_POINTS = 8
_SHADE = 0.25


def label_colour(label: int) -> str:
    """Colour of label 1, 2, …."""
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]


def structure_grid(structures: np.ndarray, backgrounds: np.ndarray, columns: int = 8) -> bytes:
    """Structure maps, white on black, each with its background mask tinted.

    Args:
      structures: [N, H, W] in [0, 1].
      backgrounds: [N, H, W] in [0, 1], 1 outside the head.
      columns: maps in a row.

    Returns:
      PNG.
    """
    columns = min(columns, len(structures))
    figure, axes = _cells(-(-len(structures) // columns), columns)
    for ax, structure, background in zip(axes.flat, structures, backgrounds, strict=False):
        ax.imshow(_tint_outside(structure, background), interpolation="nearest")
    return _png(figure)


def quadruples(
    images: np.ndarray,
    modalities: Sequence[str],
    labels: np.ndarray,
    label_names: Sequence[str],
    structures: np.ndarray | None = None,
    backgrounds: np.ndarray | None = None,
    row_names: Sequence[str] | None = None,
) -> bytes:
    """Registered samples, one a row: structure map and background where given, label, then every modality.

    Args:
      images: [N, H, W, M] in [0, 1].
      modalities: M names.
      labels: integers [N, H, W].
      label_names: name of every class, background first.
      structures: [N, H, W] in [0, 1].
      backgrounds: [N, H, W] in [0, 1], 1 outside the head.
      row_names: N names, written at the left.

    Returns:
      PNG.
    """
    panels = {}
    if structures is not None:
        panels["structure map"] = [_grey(s) for s in structures]
    if backgrounds is not None:
        panels["background"] = [_tint_outside(np.zeros_like(b), b) for b in backgrounds]
    heads = np.max(images, axis=-1) > 0
    panels["label"] = [_paint_label(head, label) for head, label in zip(heads, labels, strict=True)]
    for index, modality in enumerate(modalities):
        panels[modality] = [_grey(image) for image in images[..., index]]
    figure, axes = _cells(len(images), len(panels), legend=True)
    _fill(axes, panels, row_names)
    _add_label_legend(figure, label_names)
    return _png(figure)


def label_overlays(
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    label_names: Sequence[str],
    row_names: Sequence[str] | None = None,
) -> bytes:
    """Slices with shaded and outlined labels, one slice a row: the bare slice, then a column for each segmentation.

    Args:
      images: [N, H, W] in [0, 1].
      labels: name of the segmentation (such as "reference", "trained on real") to integers [N, H, W].
      label_names: name of every class, background first.
      row_names: N names, written at the left.

    Returns:
      PNG.
    """
    slices = [_grey(image) for image in images]
    panels = {"": slices}
    for name, segmentations in labels.items():
        panels[name] = [_shade_labels(grey, label) for grey, label in zip(slices, segmentations, strict=True)]
    figure, axes = _cells(len(images), len(panels), legend=True)
    _fill(axes, panels, row_names)
    for column, segmentations in enumerate(labels.values(), start=1):
        for ax, label in zip(axes[:, column], segmentations, strict=True):
            _draw_contours(ax, label)
    _add_label_legend(figure, label_names)
    return _png(figure)


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
      panels: title of each panel to the columns in it; every column on its own when not given.
      columns: panels in a row.

    Returns:
      PNG.

    Raises:
      ValueError: a column that is asked for is not in the log.
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
        ax.set_title(title, fontsize=_FONT_POINTS)
    return _png(figure)


def points_with_errors(
    names: Sequence[str],
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    axis_name: str,
    baseline: int | None = None,
) -> bytes:
    """A table as a plot: rows down the side, a point with its error bar for each series.

    Args:
      names: R row names, top to bottom.
      series: name (such as a region) to (value [R], error [R]); NaN where a row has none.
      axis_name: what is measured.
      baseline: index of the row whose values are drawn as vertical lines.

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
        if baseline is not None:
            ax.axvline(values[baseline], color=colour, lw=0.8, ls=LINE_STYLES[1])
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(axis_name, fontsize=_FONT_POINTS)
    _tidy(ax)
    if len(series) > 1:
        figure.legend(loc="outside lower center", ncols=len(series), fontsize=_FONT_POINTS, frameon=False)
    return _png(figure)


def _cells(rows: int, columns: int, legend: bool = False) -> tuple[Figure, np.ndarray]:
    """A grid of square cells without axes."""
    size = (_CELL_INCHES * columns, _CELL_INCHES * rows + (0.45 if legend else 0.05))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    return figure, axes


def _fill(axes: np.ndarray, panels: Mapping[str, Sequence[np.ndarray]], row_names: Sequence[str] | None) -> None:
    """Shows one panel a column, with titles above the first row."""
    for column, (title, pictures) in enumerate(panels.items()):
        axes[0, column].set_title(title, fontsize=_FONT_POINTS)
        for ax, picture in zip(axes[:, column], pictures, strict=True):
            ax.imshow(picture, interpolation="nearest")
    for ax, name in zip(axes[:, 0], row_names or (), strict=False):
        ax.set_ylabel(name, fontsize=_FONT_POINTS)


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(image, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def _blend(picture: np.ndarray, colour: str, weight: np.ndarray) -> np.ndarray:
    """Mixes a colour into an RGB picture [H, W, 3] by a weight [H, W] in [0, 1]."""
    return picture * (1 - weight[..., None]) + np.array(to_rgb(colour), np.float32) * weight[..., None]


def _tint_outside(structure: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Edges stay visible outside the head, where there should be none."""
    tint = _blend(np.zeros((*structure.shape, 3), np.float32), OUTSIDE_COLOUR, np.clip(background, 0, 1))
    return _blend(tint, "white", np.clip(structure, 0, 1))


def _paint_label(head: np.ndarray, label: np.ndarray) -> np.ndarray:
    picture = _grey(0.25 * head)
    for value in np.unique(label[label > 0]):
        picture[label == value] = to_rgb(label_colour(int(value)))
    return picture


def _shade_labels(picture: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Neighbouring contours hide each other where they meet; a light shade tells the labels apart there."""
    for value in np.unique(label[label > 0]):
        picture = _blend(picture, label_colour(int(value)), _SHADE * (label == value))
    return picture


def _draw_contours(ax: Axes, label: np.ndarray) -> None:
    for value in np.unique(label[label > 0]):
        ax.contour(label == value, levels=[0.5], colors=[label_colour(int(value))], linewidths=0.9)


def _add_label_legend(figure: Figure, label_names: Sequence[str]) -> None:
    patches = [Patch(color=label_colour(i), label=name) for i, name in enumerate(label_names) if i > 0]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=len(patches), fontsize=_FONT_POINTS - 1, frameon=False
    )


def _plot_curves(ax: Axes, curves: Mapping[str, np.ndarray], x: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        known = ~np.isnan(curves[name])
        colour, style = LABEL_COLOURS[(0, 3, 4, 2)[index % 4]], LINE_STYLES[index // 4 % len(LINE_STYLES)]
        ax.plot(curves[x][known], curves[name][known], color=colour, ls=style, lw=1.2, label=name)
    ax.set_xlabel(x, fontsize=_FONT_POINTS)
    _tidy(ax)
    if len(names) > 1:
        ax.legend(fontsize=_FONT_POINTS - 2, frameon=False)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#e3e6ea", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=_FONT_POINTS - 1, length=2)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
