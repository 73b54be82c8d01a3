"""Mixtures of real and synthetic slices, the segmenters trained on them, and the statistics of their scores."""

import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from mmsynth_tf import constants, input_pipeline, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.experiments.usability import mixtures, usability, usability_tables
from mmsynth_tf.experiments.usability.mixtures import AUGMENTED, REAL, SYNTHETIC, Mixture
from mmsynth_tf.stages.segmentation.stage import mixed_batches
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import callbacks, checkpoints, devices
from tests.fakes import fakes

STEPS = 4
CONFIG = fakes.tiny_config(
    num_modalities=4,
    **fakes.short_runs(STEPS, STEPS // 2),
    segmentation__design=constants.ONE_SEGMENTER,
)
BY_NAME = {mixture.name: mixture for mixture in mixtures.MIXTURES}
# The prepared data has three training patients of four slices.
PATIENTS, REAL_SLICES, SYNTHETIC_SLICES = 3, 12, 24


class SyntheticData(prepared.PreparedData):
    """A synthetic data set in memory. Its slices differ from real ones in that they are white outside the head."""

    def slices(self, split: str) -> tf.data.Dataset:
        assert split == "train"
        rng = np.random.default_rng(0)
        examples = [fakes.head_slice(rng, self.config.num_modalities) for _ in range(SYNTHETIC_SLICES)]
        columns = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
        columns["image"] = np.where(columns["image"] == 0, np.float16(1), columns["image"])
        columns["patient_id"] = [f"synthetic_{number}" for number in range(SYNTHETIC_SLICES)]
        return tf.data.Dataset.from_tensor_slices(columns)


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Tracing for two replicas takes twice as long; tests/training/test_ways_to_run.py has them."""
    monkeypatch.setattr(devices, "strategy", tf.distribute.get_strategy)


def synthetic_record(real_record: dict) -> dict:
    """Of a data set whose generators were trained on real patients."""
    makers = {"trained_on": {constants.STRUCTURE: [real_record]}, "labels_from": real_record}
    return {"source": "synthetic", "split": {"train": []}, "patients": {}, "generation": makers}


@pytest.fixture(scope="module")
def synthetic_data(prepared_data):
    return SyntheticData(pathlib.Path("synthetic"), prepared_data.config, synthetic_record(prepared_data.record))


@pytest.fixture(scope="module")
def pool(prepared_data, synthetic_data):
    return mixtures.Pool(prepared_data, [synthetic_data], cache=True)


@pytest.fixture
def request_for(prepared_data, synthetic_data, tmp_path):
    """Makes requests on a work directory that has the settings of segmenters, which is all that is needed."""

    def make(workdir="models", **changes) -> Request:
        config = dataclasses.replace(CONFIG, data=prepared_data.config)
        atomic.write_text(tmp_path / workdir / constants.SEGMENTATION / "config.json", tree.to_json(config))
        return Request(tmp_path / workdir, prepared_data, (synthetic_data,), **changes)

    return make


def kinds(batch: dict[str, np.ndarray]) -> set[str]:
    """What the slices of a batch are: real ones are black in the corner, synthetic ones white."""
    return {{0.0: REAL, 1.0: SYNTHETIC}[float(value)] for value in batch["image"][:, :, 0, 0, 0].ravel()}


def test_the_paper_has_25_rows_each_with_its_own_name():
    assert len(mixtures.MIXTURES) == len(BY_NAME) == 25


@pytest.mark.parametrize("mixture", mixtures.MIXTURES, ids=lambda mixture: mixture.name)
def test_names_say_what_is_in_a_row(mixture):
    named = "_".join(f"{k}_{getattr(mixture, k):g}" for k in (REAL, SYNTHETIC, AUGMENTED) if getattr(mixture, k))
    assert mixture.name in (named, f"{named}_{mixture.order.replace(' ', '_')}")


def test_rows_are_chosen_by_name_in_the_papers_order():
    assert mixtures.select([]) == mixtures.MIXTURES
    assert mixtures.select(["real_1_synthetic_1_augmented_1", "real_1"]) == (mixtures.BASELINE, mixtures.FURTHER[0])
    assert mixtures.select(["synthetic_1", "real_1"]) == (BY_NAME["real_1"], BY_NAME["synthetic_1"])
    with pytest.raises(UserError, match=r"No such row: real_7\. The rows are real_1, real_0\.5"):
        mixtures.select(["real_7"])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("real_1", (12, 0, 0)),
        ("real_0.5", (6, 0, 0)),
        ("synthetic_2", (0, 24, 0)),
        ("real_0.1_synthetic_1", (1, 12, 0)),
        ("real_0.8_synthetic_0.2", (10, 2, 0)),
        ("real_1_augmented_0.5", (12, 0, 6)),
        ("real_1_augmented_2", (12, 0, 24)),
    ],
)
def test_fractions_are_of_the_real_training_set(pool, name, counts):
    chosen = pool.chosen(BY_NAME[name], seed=0)
    assert tuple(len(chosen[kind]) for kind in (REAL, SYNTHETIC, AUGMENTED)) == counts
    source = pool._source(BY_NAME[name], (REAL, SYNTHETIC, AUGMENTED), seed=0)
    assert source.counts == [sum(counts)] * 4


def test_every_seed_chooses_other_slices_and_a_smaller_fraction_some_of_a_larger_ones(pool):
    small, large = BY_NAME["real_0.2_synthetic_0.8"], BY_NAME["real_0.8_synthetic_0.2"]
    first, again, other = (pool.chosen(small, seed) for seed in (0, 0, 1))
    for kind in (REAL, SYNTHETIC):
        np.testing.assert_array_equal(first[kind], again[kind])
    assert set(first[SYNTHETIC]) != set(other[SYNTHETIC])
    assert set(first[REAL]) < set(pool.chosen(large, 0)[REAL])


def test_a_part_of_the_real_slices_is_few_patients(pool, prepared_data):
    patients = [x["patient_id"] for x in prepared_data.slices("train").as_numpy_iterator()]
    for fraction, expected in ((0.25, 1), (0.5, 2), (1.0, PATIENTS)):
        chosen = pool.chosen(Mixture("some", real=fraction), seed=0)[REAL]
        assert len({patients[number] for number in chosen}) == expected


def test_slices_augmented_twice_are_there_twice(pool):
    chosen = pool.chosen(BY_NAME["real_1_augmented_2"], seed=0)[AUGMENTED]
    assert list(np.bincount(chosen)) == [2] * REAL_SLICES


def test_mixtures_hold_their_shares_all_along_however_few_slices_are_in_memory(pool, monkeypatch):
    monkeypatch.setattr(input_pipeline, "_BUFFER", 4)
    # 12 real slices and 24 synthetic ones: 12 of 36 draws are real in each third of three passes, sd at most 2.9.
    batches = pool._source(BY_NAME["real_1_synthetic_2"], (REAL, SYNTHETIC), seed=0).modality(0, seed=0, start=0)
    real = np.array([float(x["image"][0, 0, 0]) == 0 for x in batches.take(108).as_numpy_iterator()])
    assert np.all(np.abs(real.reshape(3, 3, 12).sum(axis=(0, 2)) - 12) < 9)


def test_several_synthetic_sets_are_numbered_through(prepared_data, synthetic_data):
    pool = mixtures.Pool(prepared_data, [synthetic_data, synthetic_data], cache=True)
    assert pool.num_synthetic == 2 * SYNTHETIC_SLICES
    numbers = np.array([0, SYNTHETIC_SLICES, SYNTHETIC_SLICES, SYNTHETIC_SLICES + 3])
    assert [len(list(part)) for part in pool._taken(SYNTHETIC, numbers)] == [1, 3]


def test_too_few_synthetic_slices_are_refused_with_what_is_missing(pool):
    pool.require(BY_NAME["synthetic_2"])
    with pytest.raises(UserError, match="synthetic_3 needs 36 synthetic slices, but there are 24"):
        pool.require(BY_NAME["synthetic_3"])


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("real_1_synthetic_1_real_first", [{REAL}] * 2 + [{SYNTHETIC}] * 2),
        ("real_0.1_synthetic_1", [{SYNTHETIC}] * 3 + [{REAL}]),
        ("real_1_synthetic_1", [{REAL, SYNTHETIC}] * 4),
    ],
)
def test_every_row_sees_as_many_slices_in_its_order(pool, name, order):
    batches = list(pool.batches(BY_NAME[name], CONFIG).as_numpy_iterator())
    assert [b["image"].shape[:2] for b in batches] == [(CONFIG.segmentation.batch_size, 4)] * STEPS
    assert [kinds(b) for b in batches] == order


@pytest.mark.parametrize("name", ["real_0.1_synthetic_1", "real_1_augmented_1"])
def test_a_resumed_row_sees_what_an_undisturbed_one_sees(pool, name):
    whole = list(pool.batches(BY_NAME[name], CONFIG).as_numpy_iterator())
    for start in (1, 3):
        rest = list(pool.batches(BY_NAME[name], CONFIG, start).as_numpy_iterator())
        for a, b in zip(whole[start:], rest, strict=True):
            for feature in ("image", "label"):
                np.testing.assert_array_equal(a[feature], b[feature])


def test_only_augmented_slices_are_transformed_and_anew_in_each_pass(pool):
    config = tree.override(CONFIG, {"segmentation.steps": 6, "segmentation.batch_size": REAL_SLICES})
    for name, fresh in (("real_1", 0.0), ("real_1_augmented_1", 0.5)):
        batches = pool.batches(BY_NAME[name], config).as_numpy_iterator()
        seen = [image.tobytes() for batch in batches for image in batch["image"][:, 0]]
        # Three patients are copies of one volume: plain slices have as few faces as it has slices.
        plain = {image for image in seen if seen.count(image) > 1}
        assert sum(image not in plain for image in seen) == round(fresh * len(seen))


def test_labels_are_transformed_with_their_images():
    config = tree.override(CONFIG, {f"augmentation.{name}": 0.0 for name in ("scale", "rotation", "translation")})
    slices = fakes.slices(5, config).map(
        lambda x: {
            "image": tf.cast(tf.stack([x["label"]] * 4), tf.float16),
            "label": x["label"],
            "available": x["available"],
            AUGMENTED: True,
        }
    )
    before = {x["label"].tobytes() for x in slices.as_numpy_iterator()}
    source = input_pipeline.SliceSource(slices, 4, shared=("label", AUGMENTED))
    batches = list(mixed_batches(source, config).take(STEPS).as_numpy_iterator())
    for batch in batches:
        np.testing.assert_allclose(batch["image"], batch["label"], atol=1e-5)
    assert {label.tobytes() for batch in batches for label in batch["label"][:, 0]} - before


ROWS = ("real_1", "real_0.1_synthetic_1")


@pytest.mark.usefixtures("without_tracing")
def test_an_interrupted_experiment_ends_like_an_undisturbed_one(request_for, synthetic_data):
    undisturbed, stopped = (request_for(name, rows=ROWS) for name in ("undisturbed", "stopped"))
    tables = usability.run(undisturbed)
    stop_within_second_row(stopped)
    assert usability.run(stopped) == tables
    first, second = (r.workdir / "evaluation" / "usability" / "records.json" for r in (undisturbed, stopped))
    assert first.read_bytes() == second.read_bytes()

    names = ("mixture", "real_slices", "synthetic_slices", "augmented_slices", "seed", "steps", "slices_seen")
    seen = STEPS * CONFIG.segmentation.batch_size
    assert {tuple(row[name] for name in names) for row in records.read_json(first)} == {
        ("real_1", REAL_SLICES, 0, 0, 0, STEPS, seen),
        ("real_0.1_synthetic_1", 1, REAL_SLICES, 0, 0, STEPS, seen),
    }
    [folder] = stopped.workdir.glob("evaluation/usability/parts/*/real_1_seed0/segmentation")
    left = {path.name for path in folder.iterdir()}
    assert callbacks.LOSSES_FILE in left
    assert (stopped.workdir / "evaluation" / "usability" / usability.EXAMPLES_FILE).is_file()
    assert checkpoints.FOLDER not in left

    # For other synthetic slices rows without any are not measured again.
    other = dataclasses.replace(synthetic_data, record={**synthetic_data.record, "seed": 1})
    usability.run(dataclasses.replace(undisturbed, synthetic=(other,)))
    parts = [path.name for path in undisturbed.workdir.glob("evaluation/usability/parts/*/*.json")]
    assert sorted(parts) == ["real_0.1_synthetic_1_seed0.json"] * 2 + ["real_1_seed0.json"]


def stop_within_second_row(request: Request) -> None:
    class Stopped(Exception):
        pass

    original, numbers = checkpoints.Checkpoints.save, itertools.count(1)

    def save_and_stop(saved, step):
        original(saved, step)
        if next(numbers) == 3:  # Each row saves twice.
            raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(checkpoints.Checkpoints, "save", save_and_stop)
        usability.run(request)


def test_other_steps_start_other_runs(request_for):
    assert [usability.run_config(request_for(steps=steps)).segmentation.steps for steps in (6, 7)] == [6, 7]


def test_patients_that_would_be_trained_on_are_not_tested_on(request_for):
    with pytest.raises(leaks.LeakError):
        usability.run(request_for(split="train"))


def test_patients_behind_synthetic_slices_are_not_tested_on(request_for, prepared_data, synthetic_data):
    splits = prepared_data.cases
    others = {**prepared_data.record, "split": {**splits, "train": splits["test"]}}
    leaking = dataclasses.replace(synthetic_data, record=synthetic_record(others))
    with pytest.raises(leaks.LeakError):
        usability.run(dataclasses.replace(request_for(), synthetic=(leaking,)))


def test_rows_that_cannot_be_filled_are_refused_before_any_training(request_for):
    request = request_for(rows=("real_1", "synthetic_3"))
    with pytest.raises(UserError, match="but there are 24"):
        usability.run(request)
    assert not list(request.workdir.glob("evaluation/**/*.json"))


def made_up_scores(rng: np.random.Generator) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Records of two rows, and their values [seed, patient, case, modality]: seven patients with two cases each."""
    values = {name: rng.uniform(size=(2, 7, 2, 3)) for name in ROWS}
    rows = [
        {
            "mixture": name,
            "seed": seed,
            "case": f"patient_{patient}_{case}",
            "modality": f"modality_{modality}",
            "region": "all",
            "metric": metric,
            "value": value,
        }
        for name, array in values.items()
        for (seed, patient, case, modality), value in np.ndenumerate(array)
        for metric in ("dice", "authors' dice", "authors' mse")
    ]
    return rows, values


PATIENT_OF = {f"patient_{patient}_{case}": f"patient_{patient}" for patient in range(7) for case in range(2)}


def test_rows_are_compared_patient_by_patient(rng):
    rows, values = made_up_scores(rng)
    found = usability_tables.compare(rows, ROWS[1], "all", PATIENT_OF)
    ours, baseline = (values[name].mean(axis=(0, 2, 3)) for name in (ROWS[1], ROWS[0]))
    expected = stats.wilcoxon(ours, baseline)
    assert found.count == 7
    assert found.difference == pytest.approx(np.mean(ours - baseline))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_patients_without_a_score_in_both_rows_are_left_out(rng):
    rows, _ = made_up_scores(rng)
    absent = {"patient_0_0", "patient_0_1"}
    rows = [row | {"value": np.nan} if row["case"] in absent and row["mixture"] == ROWS[1] else row for row in rows]
    assert usability_tables.compare(rows, ROWS[1], "all", PATIENT_OF).count == 6


def test_equal_scores_are_no_difference_and_no_baseline_is_no_comparison(rng):
    rows, _ = made_up_scores(rng)
    assert usability_tables.compare(rows, ROWS[0], "all", PATIENT_OF) == usability_tables.Comparison(0.0, 1.0, 7)
    alone = [row for row in rows if row["mixture"] == ROWS[1]]
    assert usability_tables.compare(alone, ROWS[1], "all", PATIENT_OF).count == 0


def test_the_spread_is_that_of_the_seeds(rng):
    rows, values = made_up_scores(rng)
    mixture = BY_NAME[ROWS[1]]
    table = usability_tables.main_table(rows, [BY_NAME[ROWS[0]], mixture], ("all",), PATIENT_OF)
    means = values[mixture.name].mean(axis=(1, 2, 3))
    cells = dict(zip(table.header, table.rows[1], strict=True))
    assert cells["Dice all"] == f"{means.mean():.3f} ± {means.std(ddof=1):.3f} (n=2)"
    assert [cells[name] for name in ("real", "synthetic", "augmented", "order")] == ["0.1", "1", "0", "synthetic first"]
    assert dict(zip(table.header, table.rows[0], strict=True))["difference"] == "–"
    assert len(usability_tables.comparison_table(rows, [mixture], ("all",), PATIENT_OF).rows) == 1
    assert len(usability_tables.modality_table(rows, [mixture], ("all",)).rows) == 3
