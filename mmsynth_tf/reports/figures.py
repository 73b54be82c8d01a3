"""Figures of slices as PNG bytes, drawn by Matplotlib's Agg renderer from NumPy arrays and names.

Images are float [0, 1], row 0 anterior and column 0 the patient's right. Label
colours can be distinguished with colour blindness (Okabe and Ito, 2008).
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Of labels 1, 2, 3, ...; label 0 is never drawn. Further labels reuse the colours from the start.
LABEL_COLOURS = ("#0072b2", "#f0e442", "#cc79a7", "#d55e00", "#009e73", "#56b4e9", "#e69f00")
OUTSIDE_COLOUR = "#33475b"
FONT_POINTS = 8

_CELL_INCHES = 1.25
_GAP = 0.02  # Between panels, as a fraction of their width.
_NAME_INCHES = 1.6  # Width of a name in the legend.
_DPI = 144
_SHADE = 0.25
_LINE_POINTS = 0.9


def label_colour(label: int) -> str:
    """Colour of label 1, 2, …."""
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]


def structure_grid(structures: np.ndarray, backgrounds: np.ndarray, columns: int = 8) -> bytes:
    """Structure maps, white on black, with tinted background masks.

    Args:
      structures: [N, H, W] in [0, 1].
      backgrounds: [N, H, W] in [0, 1], 1 outside the head.
      columns: maps in a row.

    Returns:
      PNG.
    """
    pictures = list(map(_tint_outside, structures, backgrounds))
    columns = min(columns, len(pictures))
    return png(_Grid([pictures[start : start + columns] for start in range(0, len(pictures), columns)]).figure)


def quadruples(
    images: np.ndarray,
    modalities: Sequence[str],
    labels: np.ndarray,
    label_names: Sequence[str],
    structures: np.ndarray | None = None,
    backgrounds: np.ndarray | None = None,
    row_names: Sequence[str] | None = None,
) -> bytes:
    """Registered samples, one per row: structure map and background if given, label, then every modality.

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
    return png(_Grid(_rows(panels), list(panels), row_names, label_names).figure)


def label_overlays(
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    label_names: Sequence[str],
    row_names: Sequence[str] | None = None,
) -> bytes:
    """Slices with shaded and outlined labels, one per row: the slice alone, then a column for each segmentation.

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
    grid = _Grid(_rows(panels), list(panels), row_names, label_names)
    for column, segmentations in enumerate(labels.values(), start=1):
        for row, label in enumerate(segmentations):
            grid.outline(row, column, label)
    return png(grid.figure)


def segmented_slices(
    images: np.ndarray, modalities: Sequence[str], labels: np.ndarray, found: np.ndarray, label_names: Sequence[str]
) -> bytes:
    """Registered slices, one per row: the label, then each modality alone and with its segmentation.

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
    grid = _Grid(_rows(panels), list(panels), label_names=label_names)
    for index in range(len(modalities)):
        for row, label in enumerate(found[..., index]):
            grid.outline(row, 2 + 2 * index, label)
    return png(grid.figure)


def slice_grid(columns: Mapping[str, np.ndarray], row_names: Sequence[str]) -> bytes:
    """Slices side by side, such as a source, its translation and the real slice.

    Args:
      columns: name to images [N, H, W] in [0, 1].
      row_names: N names, written at the left.

    Returns:
      PNG.
    """
    panels = {name: [_grey(image) for image in images] for name, images in columns.items()}
    return png(_Grid(_rows(panels), list(panels), row_names).figure)


class _Grid:
    """Panels of equal size in rows and columns, drawn as one image: separate axes would take Matplotlib seconds.

    Args:
      rows: RGB panels [H, W, 3] in [0, 1]; the last rows may be shorter.
      titles: titles of the columns.
      row_names: names at the left of the rows.
      label_names: name of every class, background first, for a legend; no legend if not given.

    Attributes:
      figure: the Matplotlib figure.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[np.ndarray]],
        titles: Sequence[str] = (),
        row_names: Sequence[str] | None = None,
        label_names: Sequence[str] = (),
    ):
        height, width = rows[0][0].shape[:2]
        gap = max(1, round(_GAP * width))
        self._step = height + gap, width + gap
        columns = len(rows[0])
        mosaic = np.ones((len(rows) * self._step[0] - gap, columns * self._step[1] - gap, 3), np.float32)
        for row, pictures in enumerate(rows):
            for column, picture in enumerate(pictures):
                top, left = self._corner(row, column)
                mosaic[top : top + height, left : left + width] = picture
        texts = (0.45 if label_names else 0.05) + (0.2 if titles else 0.0)
        size = (_CELL_INCHES * columns, _CELL_INCHES * len(rows) * height / width + texts)
        self.figure = Figure(figsize=size, layout="constrained", facecolor="white")
        self.figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01)
        self._axes = self.figure.subplots()
        self._axes.imshow(mosaic, interpolation="nearest")
        self._axes.spines[:].set_visible(False)
        self._axes.tick_params(length=0, labelsize=FONT_POINTS, labeltop=True, labelbottom=False)
        self._axes.set_xticks([self._step[1] * n + width / 2 for n in range(len(titles))], titles)
        names = row_names or ()
        self._axes.set_yticks(
            [self._step[0] * n + height / 2 for n in range(len(names))], names, rotation=90, va="center"
        )
        if label_names:
            _add_label_legend(self.figure, label_names)

    def outline(self, row: int, column: int, label: np.ndarray) -> None:
        """Draws the outlines of an integer label [H, W] into one panel."""
        top, left = self._corner(row, column)
        y, x = (start + np.arange(size) for start, size in zip((top, left), label.shape, strict=True))
        for value in np.unique(label[label > 0]):
            self._axes.contour(
                x, y, label == value, levels=[0.5], colors=[label_colour(int(value))], linewidths=_LINE_POINTS
            )

    def _corner(self, row: int, column: int) -> tuple[int, int]:
        """Position of a panel's first pixel in the whole image."""
        return row * self._step[0], column * self._step[1]


def _rows(panels: Mapping[str, Sequence[np.ndarray]]) -> list[Sequence[np.ndarray]]:
    """Transposes columns of panels to rows."""
    return list(zip(*panels.values(), strict=True))


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(image, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def _blend(picture: np.ndarray, colour: str, weight: np.ndarray) -> np.ndarray:
    """Mixes a colour into an RGB picture [H, W, 3] by a weight [H, W] in [0, 1]."""
    return picture * (1 - weight[..., None]) + np.array(to_rgb(colour), np.float32) * weight[..., None]


def _tint_outside(structure: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Tints the background; edges outside the head, which are errors, stay visible."""
    tint = _blend(np.zeros((*structure.shape, 3), np.float32), OUTSIDE_COLOUR, np.clip(background, 0, 1))
    return _blend(tint, "white", np.clip(structure, 0, 1))


def _paint_label(head: np.ndarray, label: np.ndarray) -> np.ndarray:
    picture = _grey(0.25 * head)
    for value in np.unique(label[label > 0]):
        picture[label == value] = to_rgb(label_colour(int(value)))
    return picture


def _shade_labels(picture: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Shades the labels lightly, because neighbouring outlines hide each other where they meet."""
    for value in np.unique(label[label > 0]):
        picture = _blend(picture, label_colour(int(value)), _SHADE * (label == value))
    return picture


def _add_label_legend(figure: Figure, label_names: Sequence[str]) -> None:
    # Narrow figures have no room for all names in one row.
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
