"""Samples made by untrained generators, the data set of them, and the scores of segmenters on it."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from datasets import synthetic
from mmsynth_tf import constants, prepared
from mmsynth_tf.algorithms import contour_filter, warping
from mmsynth_tf.configs import structure, tree
from mmsynth_tf.experiments import leaks, lesion_check, segmentation, study
from mmsynth_tf.generation import lesion_looks, map_filter, remaking, sampling
from mmsynth_tf.stages.synthesis import contrast
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import checkpoints, run_folder, runs
from tests.fakes import fakes

STEPS = 2
CONFIG = fakes.tiny_config(
    num_modalities=4,
    # Traced sooner than one network for each modality.
    segmentation__design=constants.ONE_SEGMENTER,
    **fakes.short_runs(STEPS, STEPS),
    generation__batch_size=4,
    generation__mask_error=1.0,
    generation__map_quantile=0.0,
    generation__dice_threshold=0.0,
)


@pytest.fixture(scope="module")
def workdir(prepared_data, tmp_path_factory):
    """What models make does not matter here, so training, most of which is tracing, is left out."""
    folder, config = tmp_path_factory.mktemp("models"), dataclasses.replace(CONFIG, data=prepared_data.config)
    for stage in constants.STAGES:
        fakes.untrained(stage, config, folder, [prepared_data.record]).checkpoints.save(STEPS)
    return folder


def generation(workdir, data, **settings):
    config = tree.override(CONFIG, {name.replace("__", "."): value for name, value in settings.items()})
    return sampling.Generation(workdir, data.path, config)


@pytest.fixture(scope="module")
def unfiltered(workdir, prepared_data):
    """Of the first blocks, all that maps and labels allow."""
    return generation(workdir, prepared_data)


def first_samples(made, count):
    blocks = (made.block(number, collections.Counter()) for number in itertools.count())
    return list(itertools.islice(itertools.chain.from_iterable(blocks), count))


@pytest.fixture(scope="module")
def made(unfiltered, tmp_path_factory):
    """A data set of eight samples."""
    output = tmp_path_factory.mktemp("data") / "synthetic"
    with atomic.new_folder(output, constants.DATA_SET_RECORD) as folder:
        synthetic.build(unfiltered, 8, output, folder)
    return prepared.open_prepared(output)


def test_samples_are_registered_labelled_and_inside_the_head(unfiltered, prepared_data):
    samples = first_samples(unfiltered, 6)
    assert [s["case_id"] for s in samples] == [f"synthetic_{s['seed']:09d}" for s in samples]
    for sample in samples:
        outside = sample["background"][..., 0] == 1
        assert not sample["label"][outside].any()
        assert not sample["structure"][outside].any()
        assert set(sample["image"]) == set(prepared_data.config.modalities)
        for image in sample["image"].values():
            assert image.dtype == np.float16
            assert not image[outside].any()


def test_each_sample_depends_on_its_number_alone(workdir, prepared_data, unfiltered):
    one = first_samples(unfiltered, 5)
    other = first_samples(generation(workdir, prepared_data, generation__batch_size=3), 5)
    for a, b in zip(one, other, strict=True):
        assert a["seed"] == b["seed"]
        np.testing.assert_array_equal(a["label"], b["label"])
        np.testing.assert_array_equal(a["structure"], b["structure"])
        np.testing.assert_allclose(a["image"]["t1"].astype(float), b["image"]["t1"].astype(float), atol=2e-3)


def test_a_block_is_the_same_whatever_was_made_before_it(unfiltered):
    after_another = first_samples(unfiltered, 2 * unfiltered.draws_per_block)
    alone = list(unfiltered.block(1, collections.Counter()))
    assert alone
    assert [flat(s) for s in after_another if s["seed"] >= unfiltered.draws_per_block][: len(alone)] == [
        flat(s) for s in alone
    ]


def test_samples_ask_for_positions_as_real_slices_have_them(unfiltered, prepared_data, monkeypatch):
    real = np.array([e["position"] for e in prepared_data.slices("train").as_numpy_iterator()])
    positions = {s["seed"]: s["position"] for s in unfiltered.block(0, collections.Counter())}
    assert set(positions.values()) <= set(real[(real >= 0) & (real <= 1)])
    assert len(set(positions.values())) > 1
    # A draw's map is made for its position.
    anatomies, given = unfiltered._anatomy, []
    monkeypatch.setattr(anatomies, "_sample_maps", lambda numbers, position: given.append(position) or (position,) * 2)
    drawn = anatomies.draw(np.array(sorted(positions)[:4]))
    np.testing.assert_array_equal(given[0], drawn["position"])
    assert drawn["position"].tolist() == [positions[number] for number in sorted(positions)[:4]]


def test_labels_come_from_slices_at_about_the_height_of_the_map(unfiltered, monkeypatch):
    asked, near = [], unfiltered._pool.near

    def noted(pool, positions, chances):
        asked.append((positions, chances))
        return near(positions, chances)

    monkeypatch.setattr(type(unfiltered._pool), "near", noted)
    sample = next(unfiltered.block(0, collections.Counter()))
    positions, chances = asked[0]
    assert sample["position"] in positions
    candidates = near(positions, chances)[list(positions).index(sample["position"])]
    assert sample["label_source"] in [unfiltered._pool.sources[i] for i in candidates]
    assert np.all((chances >= 0) & (chances < 1)) and len(np.unique(chances)) > len(chances)


def flat(sample):
    """A sample's bytes."""
    return [np.asarray(value).tobytes() for value in tf.nest.flatten(sample)]


def training_slices(data):
    """Examples by the names that samples record."""
    return {f"{e['case_id'].decode()}:{e['slice_index']}": e for e in data.slices("train").as_numpy_iterator()}


def test_a_label_is_its_recorded_source_under_its_recorded_transform(unfiltered, prepared_data):
    sources = training_slices(prepared_data)
    for sample in first_samples(unfiltered, 4):
        label = sources[sample["label_source"]]["label"][None]
        moved = warping.transform(label, sample["label_transform"][None], "NEAREST")
        np.testing.assert_array_equal(moved[0], sample["label"])


def test_lesions_get_the_looks_of_the_slice_that_their_label_comes_from(unfiltered, monkeypatch):
    assert unfiltered.identity["lesion_looks"]
    plain = generation_without_looks(unfiltered, monkeypatch)
    asked = []

    def marked(looks, image, label, lesion, source, rng):
        asked.append((source, rng.integers(1 << 30)))
        return np.where(lesion[..., None], 0.5, image).astype(np.float32)

    monkeypatch.setattr(type(unfiltered._looks), "applied", marked)
    for sample, before in zip(first_samples(unfiltered, 4), plain, strict=True):
        assert sample["seed"] == before["seed"]
        image, lesion = (np.stack([*values]) for values in (sample["image"].values(), [sample["label"][..., 0] > 0]))
        assert np.all(image[:, lesion[0]] == 0.5)
        unchanged = np.stack([*before["image"].values()])
        np.testing.assert_array_equal(image[:, ~lesion[0]], unchanged[:, ~lesion[0]])
        # The looks of a sample are drawn from its own number.
        number = np.random.default_rng([unfiltered._seed, sample["seed"], sampling._LOOKS]).integers(1 << 30)
        assert (sample["label_source"], number) in asked


def generation_without_looks(made, monkeypatch):
    """Samples as the networks draw them."""
    with monkeypatch.context() as patch:
        patch.setattr(made, "_looks", None)
        return first_samples(made, 4)


def test_without_labelled_slices_of_all_modalities_lesions_stay_as_they_are_drawn(prepared_data, monkeypatch, caplog):
    def refuse(data):
        raise prepared.PreparedDataError("No training slice has all modalities.")

    monkeypatch.setattr(lesion_looks.anatomy, "labelled_slices", refuse)
    assert lesion_looks.looks_of(prepared_data) is None
    assert "keep the brightness and texture that the networks give them. No training slice" in caplog.text


def test_the_lesion_filter_keeps_what_the_segmenters_agree_with(workdir, prepared_data):
    counts = collections.Counter()
    kept = list(generation(workdir, prepared_data, generation__dice_threshold=0.2).block(0, counts))
    assert all(np.mean(s["dice"]) >= 0.2 for s in kept)
    assert counts["drawn"] == 32 >= counts["closed"] == counts["typical"] >= counts["labelled"] == counts["synthesised"]
    assert counts["synthesised"] >= counts["agreed"] >= counts["kept"] == len(kept)


def test_the_lesion_filter_asks_the_joint_segmenter_if_there_is_one(workdir, prepared_data, tmp_path, monkeypatch):
    judged = generation(workdir, prepared_data, generation__dice_threshold=0.2)
    assert judged.identity["lesion_filter"] == constants.JOINT
    assert set(judged.identity["trained_on"]) == {constants.STRUCTURE, constants.JOINT, constants.SYNTHESIS}
    images, label = np.zeros((2, 4, fakes.SIZE, fakes.SIZE, 1), np.float32), np.zeros((2, fakes.SIZE, fakes.SIZE, 1))
    # The lesion is where the third modality is bright.
    images[0, 2, 3:7, 3:7], label[0, 3:7, 3:7], label[1, 3:7, 3:7] = 1.0, 1, 1
    monkeypatch.setattr(judged._segmenter, "segment", lambda images: tf.cast(images[..., 2] > 0.5, tf.uint8))
    np.testing.assert_array_equal(judged._agreement(tf.constant(images), label), [[1.0], [0.0]])
    for stage in constants.PAPER_STAGES:
        (tmp_path / stage).symlink_to(workdir / stage)
    others = generation(tmp_path, prepared_data, generation__dice_threshold=0.2)
    assert others.identity["lesion_filter"] == constants.SEGMENTATION
    assert others._agreement(tf.constant(images), label).shape == (2, 4)


def test_patients_of_the_segmenters_that_taught_the_synthesis_stage_count_as_seen(workdir, prepared_data, tmp_path):
    config = fakes.tiny_config(4, base=CONFIG, synthesis__choices__pretrained_lesion=True)
    config = dataclasses.replace(config, data=prepared_data.config)
    fakes.untrained(constants.SYNTHESIS, config, tmp_path, [prepared_data.record]).checkpoints.save(STEPS)
    (tmp_path / constants.SEGMENTATION).symlink_to(workdir / constants.SEGMENTATION)
    made = generation(tmp_path, prepared_data, generation__real_anatomy=True)
    assert set(made.identity["trained_on"]) == {constants.SEGMENTATION, constants.SYNTHESIS}


def test_the_lesion_filter_goes_by_the_mean_of_the_modalities(workdir, prepared_data, unfiltered, monkeypatch):
    # Means of 0.5 and 0.25; a maximum of 1 and a minimum of 0 in both.
    rows = np.array([[1.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]] * 2)
    monkeypatch.setattr(sampling.Generation, "_agreement", lambda self, images, labels: rows)
    kept = generation(workdir, prepared_data, generation__dice_threshold=0.5).block(0, collections.Counter())
    monkeypatch.setattr(sampling, "keep_lesion_share", lambda agreed, lesion: agreed)
    every = [sample["seed"] for sample in unfiltered.block(0, collections.Counter())]
    assert [sample["seed"] for sample in kept] == every[::2]


def test_algorithm_3_keeps_maps_whose_error_is_small(workdir, prepared_data, unfiltered, monkeypatch):
    errors = np.array([0.0625, 0.07] * 2, np.float32)
    monkeypatch.setattr(contour_filter, "mask_errors", lambda structures, backgrounds, closing: errors)
    counts = collections.Counter()
    kept = list(generation(workdir, prepared_data, generation__mask_error=0.0625).block(0, counts))
    every = [sample["seed"] for sample in unfiltered.block(0, collections.Counter())]
    assert [sample["seed"] for sample in kept] == [seed for seed in every if seed % 2 == 0]
    assert all(sample["mask_error"] == 0.0625 for sample in kept)
    assert (counts["drawn"], counts["closed"], counts["typical"]) == (32, 16, 16)


def test_the_map_filter_keeps_maps_that_are_like_real_ones(workdir, prepared_data, unfiltered, monkeypatch):
    every = {s["seed"]: s for s in unfiltered.block(0, collections.Counter())}
    assert all(np.isnan(sample["map_similarity"]) for sample in every.values())
    filtering = generation(workdir, prepared_data, generation__map_quantile=0.05)
    least = filtering._anatomy._map_filter.least
    # After two steps of training all maps are much the same, and like no real one: every other one is taken for such.
    answers = itertools.cycle([least, least - 0.1])
    monkeypatch.setattr(
        map_filter.MapFilter, "similarities", lambda self, maps: np.array([next(answers) for _ in maps], np.float64)
    )
    counts = collections.Counter()
    kept = {s["seed"]: s for s in filtering.block(0, counts)}
    assert set(kept) == {draw for draw in every if draw % 2 == 0}
    assert all(sample["map_similarity"] == least for sample in kept.values())
    assert (counts["drawn"], counts["closed"], counts["typical"]) == (32, 32, 16)


def set_transform_maps(monkeypatch, share):
    changed = dataclasses.replace(structure.STRUCTURE_FORMULATIONS[constants.MEASURED], transform_maps=share)
    monkeypatch.setitem(structure.STRUCTURE_FORMULATIONS, constants.MEASURED, changed)
    # The weights are of the formulation before, which differs in nothing that they depend on.
    monkeypatch.setattr(run_folder, "require_same_choices", lambda folder, config: None)


def test_moved_maps_are_the_drawn_ones_elsewhere(workdir, prepared_data, monkeypatch):
    set_transform_maps(monkeypatch, 0.0)
    still = generation(workdir, prepared_data)
    before = {s["seed"]: s for s in still.block(0, collections.Counter())}
    settings = {"augmentation__scale": 0.0, "augmentation__rotation": 0.0, "augmentation__translation": 0.2}
    set_transform_maps(monkeypatch, 0.5)
    moving = generation(workdir, prepared_data, **settings)
    after = {s["seed"]: s for s in moving.block(0, collections.Counter())}
    moved = 0
    for draw in set(before) & set(after):
        # A shift keeps pixels; what leaves the picture is lost, and nothing enters but background.
        assert after[draw]["structure"].sum() <= before[draw]["structure"].sum()
        assert (1 - after[draw]["background"]).sum() <= (1 - before[draw]["background"]).sum()
        assert not after[draw]["structure"][after[draw]["background"] == 1].any()
        assert not after[draw]["label"][after[draw]["background"] == 1].any()
        moved += not np.array_equal(before[draw]["background"], after[draw]["background"])
    assert moved


def test_lesions_are_put_into_real_slices_that_stay_as_they_are(workdir, prepared_data, tmp_path):
    slices = training_slices(prepared_data)
    (tmp_path / "models").mkdir()
    for stage in (constants.SYNTHESIS, constants.SEGMENTATION):
        # Nothing is made from noise, so there need be no structure stage.
        (tmp_path / "models" / stage).symlink_to(workdir / stage)
    unmoved = {"scale": 0.0, "rotation": 0.0, "translation": 0.0, "flip": False}
    settings = {f"augmentation__{name}": value for name, value in unmoved.items()}
    made = generation(tmp_path / "models", prepared_data, generation__real_anatomy=True, **settings)
    assert set(made.identity["trained_on"]) == {constants.SYNTHESIS}
    counts = collections.Counter()
    samples = list(made.block(0, counts))
    assert counts["drawn"] == counts["typical"] >= counts["synthesised"] == len(samples) > 0
    for sample in samples:
        head, placed = slices[sample["anatomy_source"]], slices[sample["label_source"]]
        moved = warping.transform(placed["label"][None], sample["label_transform"][None], "NEAREST").numpy()[0]
        lesion = (moved > 0) & (head["image"] > 0).any(axis=0)
        np.testing.assert_array_equal(sample["label"], np.where(lesion, moved, head["label"]))
        real = head["image"].astype(np.float32)
        assert sample["position"] == head["position"]
        image = np.stack([sample["image"][name] for name in made.data.modalities]).astype(np.float32)
        changed = image != real
        assert changed[:, lesion].mean() > 0.9
        assert not changed[:, scipy.ndimage.distance_transform_edt(~lesion) > 6].any()
        assert np.isnan(sample["mask_error"])
    again = made.remake(samples[-1]["seed"])
    assert flat(again) == flat(samples[-1])


def test_lesions_in_real_slices_are_asked_for_in_the_contrast_of_these_slices(
    prepared_data, tmp_path, rng, monkeypatch
):
    config = fakes.tiny_config(4, base=CONFIG, synthesis__choices__contrast_condition=True)
    config = dataclasses.replace(config, data=prepared_data.config)
    fakes.untrained(constants.SYNTHESIS, config, tmp_path, [prepared_data.record]).checkpoints.save(STEPS)
    made = generation(tmp_path, prepared_data, generation__real_anatomy=True)
    monkeypatch.setattr(made._modality_gan, "synthesize", lambda *arguments: arguments[-1])
    shape, classes = (2, fakes.SIZE, fakes.SIZE, 1), prepared_data.config.num_classes
    own = tf.constant(rng.uniform(0.4, 0.6, (2, 4, *shape[1:])), tf.float32)
    label, nothing, numbers = tf.zeros(shape, tf.uint8), tf.zeros(shape), tf.constant([0, 1])
    drawn, asked = (made._run_modality_gan(numbers, nothing, nothing, label, o).numpy() for o in (None, own))
    measured = contrast.describe_registered(own, label, nothing, classes)
    expected = made._modality_gan.contrast_scale.normalise(*measured).numpy()
    # Mean and deviation of the head come first, then what is said of lesions.
    np.testing.assert_allclose(asked[..., :2], expected[..., :2], rtol=1e-5)
    np.testing.assert_array_equal(asked[..., 2:], drawn[..., 2:])
    assert not np.any(asked[..., :2] == drawn[..., :2])


@pytest.fixture(scope="module")
def remaker(made, workdir, prepared_data):
    return remaking.Remaker(made, workdir, prepared_data.path)


def test_every_sample_of_a_data_set_can_be_made_again(remaker, made, tmp_path):
    for case_id in made.cases["train"][::3]:
        remade = remaker.remake(case_id)
        assert remade.summary() == f"{case_id}: identical"
    written = np.load(remaker.save(remade, tmp_path), allow_pickle=False)
    np.testing.assert_array_equal(written["image_t1"], remade.example["image/t1"])
    assert (tmp_path / f"{case_id}.png").stat().st_size
    with pytest.raises(remaking.RemakeError, match=r"holds no sample synthetic_9\. Choose one of its 8"):
        remaker.remake("synthetic_9")


def test_a_sample_that_comes_out_otherwise_is_described(remaker, made, monkeypatch):
    stored = remaker._stored(made.cases["train"][0])
    changed = {**stored, "image/t1": stored["image/t1"].copy(), "label_source": np.asarray(b"other:1")}
    changed["image/t1"][0, 0] += 0.25
    monkeypatch.setattr(remaker, "_stored", lambda case_id: changed)
    text = remaker.remake(made.cases["train"][0]).summary()
    assert "image/t1: 1 of 256 values differ, by at most 0.25" in text
    assert "b'other:1' is stored" in text


def test_other_weights_and_other_labels_are_refused(made, workdir, prepared_data, monkeypatch):
    recorded = made.record["generation"]
    other = {**recorded["checkpoints"], constants.STRUCTURE: "abc"}
    with monkeypatch.context() as patch, pytest.raises(remaking.RemakeError, match=r"structure weights .* have abc"):
        patch.setattr(checkpoints, "checkpoint_hashes", lambda workdir: other)
        remaking.Remaker(made, workdir, prepared_data.path)
    monkeypatch.setitem(recorded, "label_pool", "def")
    with pytest.raises(remaking.RemakeError, match=r"unchanged: label_pool of .* is def, here it is"):
        remaking.Remaker(made, workdir, prepared_data.path)
    with pytest.raises(remaking.RemakeError, match="is no synthetic data set"):
        remaking.Remaker(prepared_data, workdir, prepared_data.path)


def test_a_synthetic_data_set_trains_segmenters_that_are_scored_on_real_cases(made, workdir, prepared_data, tmp_path):
    assert made.record["generation"]["passed_lesion_filter"] >= 8 == len(made.cases["train"])
    assert set(made.record["generation"]["checkpoints"]) == set(constants.STAGES)
    runs.train(constants.JOINT, CONFIG, [made], tmp_path / "models")
    (tmp_path / "models" / constants.SEGMENTATION).symlink_to(workdir / constants.SEGMENTATION)
    table = segmentation.run(study.Request(tmp_path / "models", prepared_data))["table"]
    rows = records.read_json(tmp_path / "models" / "evaluation" / "segmentation" / "records.json")
    assert {row["case"] for row in rows} == set(prepared_data.cases["test"])
    of_one = [(constants.ONE_SEGMENTER, modality) for modality in prepared_data.config.modalities]
    every = constants.ALL_MODALITIES
    assert [tuple(row[1:3]) for row in table.rows] == [("joint", every), *of_one, (constants.ONE_SEGMENTER, every)]
    assert table.header == ["test_data", "design", "modality", "all"]


def test_the_lesion_check_judges_with_a_segmenter_of_its_own_and_with_that_of_the_stage(made, workdir, prepared_data):
    request = study.Request(workdir, prepared_data, (made,))
    check = lesion_check.run(request)["table"]
    judges = ("judge (joint, seed 1000, 2 steps)", "stage (joint, seed 0, 2 steps)")
    keys = itertools.product(judges, (prepared_data.path.name, made.path.name), [constants.ALL_MODALITIES])
    assert [tuple(row[:3]) for row in check.rows] == list(keys)
    assert list((workdir / "evaluation" / "judges" / "parts").glob("*/joint/checkpoints/ckpt-2.index"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", pytest.fail)
        assert lesion_check.run(request)["table"] == check


def test_test_patients_that_were_trained_on_are_refused(workdir, prepared_data):
    with pytest.raises(leaks.LeakError, match=prepared_data.cases["train"][0]):
        segmentation.run(study.Request(workdir, prepared_data, split="train"))
