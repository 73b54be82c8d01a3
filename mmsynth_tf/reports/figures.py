"""Pictures of slices, with Matplotlib's Agg renderer. NumPy arrays and names in, PNG bytes out.

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
FONT_POINTS = 8

_CELL_INCHES = 1.25
_NAME_INCHES = 1.6  # Of a name in the legend.
_DPI = 144
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
    return png(figure)


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
    return png(figure)


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
    return png(figure)


def segmented_slices(
    images: np.ndarray, modalities: Sequence[str], labels: np.ndarray, found: np.ndarray, label_names: Sequence[str]
) -> bytes:
    """Registered slices, one a row: the label, then each modality bare and with what was found in it.

    Args:
      images: [N, H, W, M] in [0, 1].
      modalities: M names.
      labels: integers [N, H, W], the reference.
      found: integers [N, H, W, M], a segmentation of each modality.
      label_names: name of every class, background first.

    Returns:
      PNG.
    """
    heads = np.max(images, axis=-1) > 0
    panels = {"label": [_paint_label(head, label) for head, label in zip(heads, labels, strict=True)]}
    for index, modality in enumerate(modalities):
        slices = [_grey(image) for image in images[..., index]]
        panels[modality] = slices
        panels[f"found in {modality}"] = list(map(_shade_labels, slices, found[..., index]))
    figure, axes = _cells(len(images), len(panels), legend=True)
    _fill(axes, panels, None)
    for index in range(len(modalities)):
        for ax, label in zip(axes[:, 2 + 2 * index], found[..., index], strict=True):
            _draw_contours(ax, label)
    _add_label_legend(figure, label_names)
    return png(figure)


def slice_grid(columns: Mapping[str, np.ndarray], row_names: Sequence[str]) -> bytes:
    """Slices side by side, such as a source, its translation and the real slice.

    Args:
      columns: name to images [N, H, W] in [0, 1].
      row_names: N names, written at the left.

    Returns:
      PNG.
    """
    figure, axes = _cells(len(row_names), len(columns))
    _fill(axes, {name: [_grey(image) for image in images] for name, images in columns.items()}, row_names)
    return png(figure)


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
        axes[0, column].set_title(title, fontsize=FONT_POINTS)
        for ax, picture in zip(axes[:, column], pictures, strict=True):
            ax.imshow(picture, interpolation="nearest")
    for ax, name in zip(axes[:, 0], row_names or (), strict=False):
        ax.set_ylabel(name, fontsize=FONT_POINTS)


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
    # Narrow figures have no room for all names side by side.
    columns = min(len(label_names) - 1, max(1, int(figure.get_figwidth() / _NAME_INCHES)))
    patches = [Patch(color=label_colour(i), label=name) for i, name in enumerate(label_names) if i > 0]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=min(len(patches), columns),
        fontsize=FONT_POINTS - 1,
        frameon=False,
    )


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
