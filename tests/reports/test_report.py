"""The report page, its figures and tables, and the records below them."""

import json
import math
import re

import cv2
import numpy as np
import pytest

from mmsynth_tf import constants
from mmsynth_tf.reports import figures, plots, report
from mmsynth_tf.storage import atomic, records

SIZE = 24


@pytest.fixture
def samples(rng):
    """Two samples of two modalities: images, labels, structure maps, backgrounds."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    head = (rows**2 + columns**2) < (0.4 * SIZE) ** 2
    images = np.stack([head * rng.uniform(0.2, 1, head.shape) for _ in range(4)]).reshape(2, 2, SIZE, SIZE)
    labels = np.zeros((2, SIZE, SIZE), np.uint8)
    labels[0, 8:14, 8:14], labels[0, 10:12, 10:12] = 2, 4
    structures = (rng.random((2, SIZE, SIZE)) < 0.2) * head
    backgrounds = np.stack([~head] * 2).astype(np.float32)
    return np.moveaxis(images, 1, -1), labels, structures.astype(np.float32), backgrounds


def decode(png):
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def has_colour(png, colour):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(np.any(np.all(np.abs(decode(png).astype(int) - wanted) <= 2, axis=-1)))


def test_quadruples_paint_the_labels_that_occur(samples):
    images, labels, structures, backgrounds = samples
    png = figures.quadruples(images, ("t1", "t2"), labels, constants.BRATS_LABELS, structures, backgrounds)
    assert has_colour(png, figures.label_colour(2))
    assert has_colour(png, figures.label_colour(4))


def test_quadruples_do_without_structure_maps(samples):
    images, labels, structures, backgrounds = samples
    bare = decode(figures.quadruples(images, ("t1", "t2"), labels, constants.BRATS_LABELS, row_names=("a", "b")))
    full = decode(figures.quadruples(images, ("t1", "t2"), labels, constants.BRATS_LABELS, structures, backgrounds))
    assert bare.shape[1] < full.shape[1]


def test_overlays_accept_slices_without_a_lesion(samples):
    images, labels, _, _ = samples
    png = figures.label_overlays(images[..., 0], {"reference": labels, "none": 0 * labels}, constants.BRATS_LABELS)
    assert decode(png).any()


@pytest.mark.parametrize("count", [1, 7])
def test_structure_grids_may_end_with_an_incomplete_row(samples, count):
    _, _, structures, backgrounds = samples
    maps, outside = np.repeat(structures[:1], count, 0), np.repeat(backgrounds[:1], count, 0)
    assert has_colour(figures.structure_grid(maps, outside, columns=3), figures.OUTSIDE_COLOUR)


def test_curves_are_drawn_from_a_log(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss,note,validation\n1,0.5,a,\n2,0.25,b,0.75\n")
    curves = records.read_columns(tmp_path / "log.csv")
    assert set(curves) == {"step", "loss", "validation"}
    np.testing.assert_array_equal(curves["validation"], [np.nan, 0.75])
    assert decode(plots.training_curves(curves, panels={"both": ("loss", "validation")})).any()


def test_a_curve_that_was_not_logged_is_refused():
    with pytest.raises(ValueError, match="no column dice; it has step, loss"):
        plots.training_curves({"step": np.arange(2), "loss": np.ones(2)}, panels={"Dice": ("dice",)})


def test_points_accept_rows_without_a_value():
    values = np.array([0.8, np.nan]), np.array([0.1, np.nan])
    assert decode(plots.points_with_errors(("real", "both"), {"WT": values, "TC": values}, "Dice", baseline=0)).any()


def test_single_repetitions_and_distributions_are_drawn(rng):
    values = np.array([0.8, 0.6]), np.array([0.1, 0.0])
    single = {"WT": [np.array([0.7, 0.9]), np.array([0.6])]}
    assert decode(plots.points_with_errors(("real", "both"), {"WT": values}, "Dice", repetitions=single)).any()
    distances = {"made": rng.uniform(size=50), "unseen": np.array([0.5, np.nan])}
    assert decode(plots.histograms(distances, "distance", {"1st percentile": 0.1})).any()


def test_segmented_slices_show_what_was_found_and_slices_stand_side_by_side(samples):
    images, labels, _, _ = samples
    found = np.stack([labels, 0 * labels], axis=-1)
    png = figures.segmented_slices(images, ("t1", "t2"), labels, found, constants.BRATS_LABELS)
    assert has_colour(png, figures.label_colour(2))
    assert decode(figures.slice_grid({"a": images[..., 0], "b": images[..., 1]}, ("one", "two"))).any()


def test_the_page_needs_nothing_but_itself(tmp_path, samples):
    images, labels, _, _ = samples
    png = figures.quadruples(images, ("t1", "t2"), labels, constants.BRATS_LABELS)
    section = report.Section(
        "Samples <b>",
        "One.\n\nTwo & three.",
        tables=[report.Table(("name", "Dice"), [("a", 0.12345), ("b", 2)], caption="Scores.")],
        figures=[report.Figure(png, "Four.")],
        folded={"Configuration": '{"a": 1}'},
    )
    report.write_report(tmp_path / "new" / "report.html", "Title", [section], "today")
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link", page)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert "Samples &lt;b&gt;" in page
    assert "<p>Two &amp; three.</p>" in page
    assert '<td class="number">0.123</td>' in page
    assert constants.DISCLAIMER in page


def test_tables_read_the_same_in_markdown_and_latex():
    table = report.Table(("row", "Dice_WT"), [("50 % | real", 0.5)], digits=2)
    assert table.markdown() == "| row | Dice_WT |\n| --- | --- |\n| 50 % \\| real | 0.50 |\n"
    assert r"50 \% | real & 0.50 \\" in table.latex()
    assert r"Dice\_WT" in table.latex()


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(ValueError, match="'Scores': row"):
        report.Table(("a", "b"), [("only one",)], caption="Scores")


def test_records_come_back_from_json_as_they_were(tmp_path):
    rows = [{"case": "001", "value": 0.5, "seed": np.int64(3)}, {"case": "002", "value": np.inf, "seed": None}]
    records.write_json(tmp_path / "a.json", rows)
    assert records.read_json(tmp_path / "a.json") == [
        {"case": "001", "value": 0.5, "seed": 3},
        {"case": "002", "value": math.inf, "seed": None},
    ]


def test_records_are_strict_json(tmp_path):
    records.write_json(tmp_path / "a.json", [{"value": np.nan}])
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == [{"value": "NaN"}]


def test_csv_has_all_columns_of_all_records(tmp_path):
    records.write_csv(tmp_path / "a.csv", [{"a": 1}, {"b": "x,y"}])
    assert (tmp_path / "a.csv").read_text() == 'a,b\n1,\n,"x,y"\n'


@pytest.mark.parametrize("text", ["[{", '{"a": 1}'])
def test_damaged_records_are_refused_by_name(tmp_path, text):
    (tmp_path / "damaged.json").write_text(text)
    with pytest.raises(ValueError, match=r"damaged\.json"):
        records.read_json(tmp_path / "damaged.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    atomic.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic.atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
