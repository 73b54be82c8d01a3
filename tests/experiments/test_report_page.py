"""The page on all experiments: every section on made-up records, and what it says of experiments that were not run."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments import study
from mmsynth_tf.experiments.catalogue import EXPERIMENTS
from mmsynth_tf.experiments.report import report
from mmsynth_tf.experiments.translation import translation
from mmsynth_tf.experiments.usability import usability
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.reports import example_sections, finished, plots
from mmsynth_tf.reports import report as reports_report
from mmsynth_tf.storage import records
from mmsynth_tf.training import run_folder, runs
from tests.fakes import fakes, fakes_data

FILTERS = {
    "settings": {"mask_error": 0.05, "map_quantile": 0.1, "dice_threshold": 0.7, "real_anatomy": False},
    **{"drawn": 100, "passed_structure_filter": 60, "structure_acceptance": 0.6, "passed_map_filter": 55},
    **{"synthesised": 50, "passed_lesion_filter": 10, "lesion_acceptance": 0.2},
}


STATISTICS = {
    "lesion_agreement": {
        "with_lesion": {"slices": 6, "dice": {"modality_0": 0.9, "modality_1": 0.7}},
        "without_lesion": {"slices": 4, "nothing_found": {"modality_0": 1.0, "modality_1": 0.5}},
    }
}


@pytest.fixture
def request_(tmp_path):
    """A work directory without experiments, test patients, and a synthetic set."""
    real = fakes_data.data_set(tmp_path, "patients", {"train": ["r_0"], "test": ["r_1", "r_2", "r_3"]})
    cases = [f"s_{i}" for i in range(10)]
    dice = tuple(np.linspace(0.5, 0.95, 10))
    synthetic = fakes_data.data_set(tmp_path, "made", {"train": cases}, dice, generation=FILTERS, statistics=STATISTICS)
    workdir = tmp_path / "models"
    (workdir / constants.SEGMENTATION).mkdir(parents=True)
    (workdir / constants.SEGMENTATION / run_folder.CONFIG_FILE).write_text(tree.to_json(fakes_data.CONFIG))
    return study.Request(workdir, real, (synthetic,))


@pytest.fixture
def segmenter(monkeypatch):
    monkeypatch.setattr(runs, "load", lambda stage, workdir: (fakes.segmenter(fakes_data.CONFIG), fakes_data.CONFIG))


def leave(request, experiment, rows, **tables):
    """Does as an experiment does when it is finished."""
    study.Study(experiment, request, ()).finish([{"experiment": experiment, **row} for row in rows], tables)


def usability_rows():
    values = {"real_1": (0.8, 0.82), "synthetic_1": (0.6, 0.7)}
    for mixture, of_seeds in values.items():
        for seed, value in enumerate(of_seeds):
            for region in ("WT", "ET"):
                key = {"mixture": mixture, "seed": seed, "region": region, "metric": "dice"}
                yield {**key, "case": "r_1", "modality": "t1", "value": value if region == "WT" else np.nan}


def memorisation_rows():
    for data, split in (("patients", "test"), ("made", "train")):
        for value in (0.1, 0.2):
            key = {"test_data": data, "split": split, "space": "image", "case": f"{data}_{value}"}
            yield {**key, "metric": "nearest distance", "value": value}
    yield {"test_data": "made", "split": "train", "space": "image", "metric": "verdict", "value": "No copies found."}


def without_synthetic(request):
    return dataclasses.replace(request, synthetic=())


def page_of(request):
    return report.write(request).read_text(encoding="utf-8")


def test_the_page_holds_every_experiment_and_the_synthetic_data(request_, segmenter):
    special = {"usability": usability_rows(), "memorisation": memorisation_rows()}
    for name in EXPERIMENTS:
        table = reports_report.Table(["a"], [["b"]], caption=f"Table of {name}.")
        leave(request_, name, list(special.get(name, [{"value": 1}])), table=table)
    examples = request_.workdir / "evaluation" / "translation" / translation.EXAMPLES_FILE
    examples.write_bytes(b"a picture")
    page = page_of(request_)
    for name, experiment in EXPERIMENTS.items():
        assert f"<h2>{experiment.title}</h2>".replace("'", "&#x27;") in page
        assert f"Table of {name}." in page
    assert "Not run" not in page
    for text in (
        *("Structure maps of made", "Samples of made", "Best samples of made", "Worst samples of made"),
        *("Segmentations of test slices", "Segmentations of synthetic slices", "mean ± sd over seeds", "20.0%"),
        *("Distance to the nearest real training slice: image", "Translations of the test patients"),
        *("at least 0.99 for a finished set: not reached (0.800)", "4 slices without a lesion are counted separately"),
        "keeps samples with a mean Dice of at least 0.7; the paper&#x27;s threshold is 0.95",
        *("segmentation/config.json", "made/data_set.json", constants.DISCLAIMER),
    ):
        assert text in page
    assert not re.search(r"https?://|<script|<link", page)


def test_experiments_that_were_not_run_are_named(request_):
    page = page_of(without_synthetic(request_))
    for name in EXPERIMENTS:
        assert f"evaluate.py --experiment={name}" in page
    rows = report.contents_table(request_.workdir).rows
    assert [row[2] for row in rows] == [0] * len(EXPERIMENTS)


def test_the_page_does_without_synthetic_data(request_):
    page = page_of(without_synthetic(request_))
    assert "Name the sets to show with --synthetic_data" in page


def test_long_tables_open_on_a_click(request_):
    short, long = (reports_report.Table(["n"], [[i] for i in range(n)], f"{n} rows") for n in (3, 100))
    leave(request_, "fidelity", [{"value": 1}], short=short, long=long)
    page = page_of(without_synthetic(request_))
    assert "<caption>3 rows</caption>" in page
    assert "<summary>long: 100 rows</summary>" in page


def test_tables_come_back_as_they_were_finished(request_):
    table = reports_report.Table(["a", "b"], [["x", 0.12345], ["y", np.nan]], "Numbers.", digits=2)
    leave(request_, "fidelity", [], table=table)
    [found] = finished.finished_tables(request_.workdir, "fidelity").values()
    assert found.texts() == table.texts()
    assert (found.caption, list(found.header)) == (table.caption, list(table.header))
    assert finished.finished_tables(request_.workdir, "usability") == {}


def test_samples_are_ranked_by_the_lesion_that_is_found_and_drawn_the_same_way_each_time(request_):
    [data] = request_.synthetic
    agreement = report.lesion_agreement(data)
    assert len(agreement) == 10
    assert max(agreement, key=agreement.get) == (b"s_9", 0)
    assert agreement[b"s_0", 0] == pytest.approx(0.5)
    keys = example_sections.drawn_keys(data, 4)
    assert keys == example_sections.drawn_keys(data, 4)
    assert len(set(keys)) == 4


def test_samples_without_a_lesion_are_not_ranked(request_, monkeypatch):
    [data] = request_.synthetic
    bare = data.slices("train").map(lambda x: {**x, "label": tf.zeros_like(x["label"])})
    monkeypatch.setattr(fakes_data.FakeData, "slices", lambda self, split: bare)
    assert report.lesion_agreement(data) == {}


def test_samples_without_a_lesion_filter_are_not_ranked(request_, tmp_path):
    unrated = fakes_data.data_set(tmp_path, "raw", {"train": ["s_0"]}, (np.nan,), generation=FILTERS)
    assert report.lesion_agreement(unrated) == {}
    assert "have no Dice to rank them by" in page_of(dataclasses.replace(request_, synthetic=(unrated,)))


def test_running_it_as_an_experiment_says_what_the_page_holds(request_):
    leave(request_, "fidelity", [{"value": 1}, {"value": 2}])
    [table] = report.run(without_synthetic(request_)).values()
    assert ["Fidelity", "measured", 2] in table.rows
    assert records.read_json(request_.workdir / "evaluation" / "fidelity" / "records.json")
    assert pathlib.Path(request_.workdir, "evaluation", report.REPORT_FILE).is_file()


def test_plot_of_usability_leaves_out_what_all_modalities_find_together(monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "points_with_errors", lambda names, series, *_: drawn.update(series) or b"")
    common = {"metric": DICE, "mixture": "real_1", "region": "WT", "seed": 0}
    values = {"t1": 0.4, "t2": 0.6, constants.ALL_MODALITIES: 0.9}
    usability.usability_plot([{**common, "modality": name, "value": value} for name, value in values.items()])
    np.testing.assert_allclose(drawn["WT"][0], [0.5])


def test_of_slices_with_real_anatomy_no_filter_of_maps_is_reported():
    real = {**FILTERS, "settings": {**FILTERS["settings"], "real_anatomy": True}}
    table = example_sections.filter_table({"made": FILTERS, "inserted": real})
    assert [row[0] for row in table.rows] == ["made", "made", "made", "inserted"]
    assert table.rows[-1][1:5] == ["lesion filter (segmenters)", "Dice ≥ 0.7", 50, 10]
