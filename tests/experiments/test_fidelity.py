"""Fidelity of synthetic slices: each measure on slices whose answer is known, and the experiment as a whole."""

import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks, slice_sets
from mmsynth_tf.experiments.fidelity import diversity, fidelity, fidelity_tables, set_distances, slice_statistics
from mmsynth_tf.metrics import feature_extractors
from mmsynth_tf.storage import records
from mmsynth_tf.training import runs
from tests.fakes import fakes, fakes_sets

SETTINGS = fakes_sets.CONFIG.structure_map
MODALITIES = fakes_sets.CONFIG.data.modalities


def source(examples, split="train"):
    data = fakes_sets.real_data()
    data.examples[split] = examples
    return slice_sets.SliceSet(data, split)


def by_metric(rows, metric):
    return {(row["modality"], row["region"]): row for row in rows if row["metric"] == metric}


def features(values, patients=None):
    values = np.asarray(values, np.float32)
    patients = np.array(patients if patients is not None else range(len(values)))
    return set_distances.FeatureSet({"test_data": "x", "split": "y"}, values, np.ones(values.shape[:2], bool), patients)


@pytest.fixture
def request_on_fakes(tmp_path, monkeypatch):
    """A request on fake data sets, with an untrained judge for features."""
    monkeypatch.setattr(runs, "train", lambda *args: None)
    monkeypatch.setattr(runs, "load", lambda stage, workdir: (fakes.segmenter(fakes_sets.CONFIG), fakes_sets.CONFIG))
    real = fakes_sets.real_data()
    synthetic = fakes_sets.synthetic_data(fakes_sets.examples(7, [f"s{i}" for i in range(3)]), real)
    return lambda **settings: fakes_sets.request(tmp_path, real, synthetic, **settings)


def test_moments_of_pieces_are_those_of_the_whole(rng):
    values, moments = 100 + rng.random(50), slice_statistics.RunningMoments()
    for piece in np.split(values, [10, 10, 37]):
        moments.add(piece)
    assert (moments.count, moments.mean) == (50, pytest.approx(values.mean()))
    assert moments.std == pytest.approx(values.std(ddof=1))


def test_equal_modalities_are_registered_perfectly():
    slices = fakes_sets.examples(0, ["a", "b"])
    slices["image"][:, 1] = slices["image"][:, 0]
    found = by_metric(slice_statistics.statistics_records(source(slices), SETTINGS), slice_statistics.REGISTRATION)
    [row] = found.values()
    assert (row["value"], row["std"], row["count"]) == (1, 0, 6)


def test_tissue_is_correlated_outside_lesions_and_within_a_slice(rng):
    slices = fakes_sets.examples(0, ["a", "b"])
    brightness = rng.uniform(0.5, 1.0, (6, 1, 1, 1))  # Of whole slices, which must not count.
    # The opposite in tissue and the same in the lesion, which must not count either.
    opposite = np.where(slices["label"] > 0, slices["image"][:, 0], 1.0 - slices["image"][:, 0])
    slices["image"][:, 1] = np.where(slices["image"][:, 0] > 0, brightness * opposite, 0.0)
    slices["image"] = slices["image"].astype(np.float32)
    interior = slice_sets.maps_of(slices, SETTINGS).interior.all(axis=1) & (slices["label"][..., 0] == 0)
    pairs = zip(slices["image"][..., 0].astype(float), interior, strict=True)
    expected = [np.corrcoef(image[:, inside])[0, 1] for image, inside in pairs]
    rows = slice_statistics.statistics_records(source(slices), SETTINGS)
    [row] = by_metric(rows, slice_statistics.CORRELATION).values()
    assert (row["value"], row["count"]) == (pytest.approx(np.mean(expected)), 6)
    assert row["value"] < -0.8
    slices["image"][:, 1] = 0.5
    rows = slice_statistics.statistics_records(source(slices), SETTINGS)
    assert [row["count"] for row in by_metric(rows, slice_statistics.CORRELATION).values()] == [0]


def test_intensities_are_those_of_the_pixels_of_a_region():
    slices = fakes_sets.examples(0, ["a"])
    slices["image"][..., 0] = np.where(slices["label"][:, None, ..., 0] == 2, 0.75, slices["image"][..., 0])
    rows = slice_statistics.statistics_records(source(slices), SETTINGS)
    row = by_metric(rows, slice_statistics.INTENSITY)[MODALITIES[0], "class_2"]
    assert (row["value"], row["std"]) == (0.75, pytest.approx(0))
    assert row["count"] == np.sum(slices["label"] == 2)


def test_modalities_that_a_slice_lacks_count_nowhere():
    slices = fakes_sets.examples(0, ["a", "b"])
    slices["available"][:2, 1] = False
    slices["image"][:2, 1] = 0
    rows = slice_statistics.statistics_records(source(slices), SETTINGS)
    assert by_metric(rows, slice_statistics.HEAD_AREA)[MODALITIES[1], ""]["count"] == 4
    assert [row["count"] for row in by_metric(rows, slice_statistics.REGISTRATION).values()] == [4]


def test_pairs_are_of_different_patients(monkeypatch):
    slices = fakes_sets.examples(0, ["a", "b"])
    # Slices of one patient are equal, and those of the other are empty.
    slices["image"][:] = np.where((slices["patient_id"] == "a")[:, None, None, None, None], slices["image"][:1], 0)
    monkeypatch.setattr(diversity, "PAIRS", 20)
    rows = diversity.diversity_records(source(slices), SETTINGS, seed=0)
    assert [row["modality"] for row in rows] == [*MODALITIES, slice_sets.STRUCTURE_MAP]
    assert all(row["value"] < 0.5 for row in rows[:2])


def test_one_patient_alone_has_no_pairs(monkeypatch):
    rows = diversity.diversity_records(source(fakes_sets.examples(0, ["a"])), SETTINGS, seed=0)
    assert [row["count"] for row in rows] == [0, 0, 0]


def test_halves_share_no_patient(rng):
    patients = np.repeat(list("abcde"), 4)
    first, second = features(rng.random((20, 1, 3)), patients).halves(seed=0)
    assert not set(first.patients) & set(second.patients)
    assert len(first) + len(second) == 20


def test_each_distance_stands_beside_that_of_real_slices(rng):
    train, unseen = features(rng.random((30, 1, 2))), features(rng.random((10, 1, 2)))
    shifted = features(rng.random((20, 1, 2)) + 5)
    compared = list(set_distances.comparisons(train, unseen, [train, shifted], seed=0))
    rows = set_distances.distance_records(compared, ["t1"], set_distances.frechet_distances)
    counts = [(row["count"], row["reference_count"]) for row in rows]
    # The same set in full and cut to the size of the unseen one, the other likewise, unseen slices, halves.
    assert counts == [(30, 30), (10, 30), (20, 30), (10, 30), (10, 30), (15, 15)]
    assert rows[0]["value"] == pytest.approx(0, abs=1e-6)
    assert rows[2]["value"] == pytest.approx(50, rel=0.1)
    assert {row["covariance"] for row in rows} == {"sample"}


def test_sets_too_small_for_a_distance_have_none():
    compared = [set_distances.Comparison({}, features(np.zeros((1, 1, 2))), features(np.zeros((5, 1, 2))))]
    [row] = set_distances.distance_records(compared, ["t1"], set_distances.frechet_distances)
    assert np.isnan(row["value"]) and (row["count"], row["reference_count"]) == (1, 5)


def test_all_measures_leave_records_and_tables_and_say_what_is_missing(request_on_fakes, monkeypatch, tmp_path):
    def missing(*args):
        raise feature_extractors.UnavailableError("it is not there")

    monkeypatch.setattr(feature_extractors, "InceptionFeatures", missing)
    monkeypatch.setattr(fidelity.radiomics_distance, "require_packages", missing)
    tables = fidelity.run(request_on_fakes(steps=2, seeds=(3,)))
    assert set(tables) == {"table", "variety", "registration", "intensity", "distribution", "acceptance"}
    assert "Left out: inception, because it is not there. Left out: frd" in tables["table"].caption
    rows = records.read_json(tmp_path / "evaluation" / "fidelity" / "records.json")
    assert {row["seed"] for row in rows if row["metric"] == "classifier accuracy"} == {3}
    distances = {row["features"] for row in rows if row["metric"] == set_distances.FRECHET_DISTANCE}
    assert distances == {"judge (1ecl_4dcl, seed 1000, 40000 steps)"}
    assert {row[0] for row in tables["registration"].rows} == {
        *("normalised mutual information", "gradient correlation", "tissue correlation", "registration dice")
    }
    assert {row["test_data"] for row in rows} == {"real", "synthetic"}
    assert ["synthetic (train)", 20, 0.5, 0.75, 10, 0.6, 6] in tables["acceptance"].rows


def test_variety_of_slices_stands_beside_that_of_real_ones_by_modality():
    values = {
        ("real", "train"): (0.4, 0.3, 0.2),
        ("real", "test"): (0.5, 0.3, 0.1),
        ("made", "train"): (0.6, 0.25, 0.2),
    }
    rows = [
        {"test_data": d, "split": s, "metric": diversity.MS_SSIM, "modality": m, "value": v, "std": 0.1, "count": 9}
        for (d, s), of_set in values.items()
        for m, v in zip((*MODALITIES, slice_sets.STRUCTURE_MAP), of_set, strict=True)
    ]
    found = fidelity_tables.tables(rows, MODALITIES, {})["variety"]
    assert found.header[3:] == [*MODALITIES, "structure map"]
    assert found.rows[2] == ["ms-ssim", "made (train)", "9", "0.6 ± 0.1", "0.25 ± 0.1", "0.2 ± 0.1"]
    assert found.rows[4] == ["made (train) minus real (train)", "", "", "+0.200", "-0.050", "+0.000"]
    assert fidelity_tables.tables([], MODALITIES, {})["variety"].rows == []


def test_what_was_measured_is_not_measured_again(request_on_fakes, monkeypatch):
    first = fidelity.run(request_on_fakes(rows=("statistics",)))
    monkeypatch.setattr(slice_sets.SliceSet, "batches", lambda self: pytest.fail("a set was read again"))
    second = fidelity.run(request_on_fakes(rows=("statistics",)))
    assert second["table"].rows == first["table"].rows


def test_unknown_measures_are_refused(request_on_fakes):
    with pytest.raises(UserError, match=r"No such measure: fid\. The measures are segmenter"):
        fidelity.run(request_on_fakes(rows=("fid",)))


def test_slices_that_were_trained_on_are_not_unseen(request_on_fakes):
    with pytest.raises(leaks.LeakError, match="a0"):
        fidelity.run(request_on_fakes(split="train"))
