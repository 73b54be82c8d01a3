"""Training batches: independent draws, resumable streams, and what each stage gets."""

import contextlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import configs, constants, input_pipeline, prepared
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.input_pipeline import SliceSource
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.segmentation.stage import segmentation_batches
from mmsynth_tf.stages.structure.stage import structure_batches
from mmsynth_tf.stages.synthesis.stage import synthesis_batches
from tests.fakes import fakes

CONFIG = fakes.tiny_config(3)


@pytest.fixture(scope="module")
def source() -> SliceSource:
    return fakes.slice_source(CONFIG, 5, "position")


def numbered_slices(available: list[list[bool]]) -> tf.data.Dataset:
    """Slice number i has the value i in all its modalities."""
    count, n = np.shape(available)
    values = np.broadcast_to(np.arange(count, dtype=np.float16)[:, None, None, None, None], (count, n, 4, 4, 1))
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": values,
            "label": np.ones((count, 4, 4, 1), np.uint8),
            "available": np.array(available),
            "has_label": np.ones(count, bool),
        }
    )


def draw(stream: tf.data.Dataset, count: int) -> list[int]:
    return [int(x["image"][0, 0, 0]) for x in stream.take(count)]


def take(batches: tf.data.Dataset, count: int) -> list[dict[str, np.ndarray]]:
    return list(batches.take(count).as_numpy_iterator())


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("stage", constants.STAGES)
def test_a_resumed_run_sees_the_batches_of_an_undisturbed_one(stage):
    # Five slices in batches of two: the streams are in their second pass by then, and go on to the third.
    start = 4
    draw_from = catalogue.STAGES[stage]
    source = draw_from.source([fakes.slices(5, CONFIG)], CONFIG)
    undisturbed = take(draw_from.batches(source, CONFIG), 6)
    # The global seed at that moment must not matter.
    tf.keras.utils.set_random_seed(99)
    resumed = take(draw_from.batches(source, CONFIG, start_step=start), 6 - start)
    for first, second in zip(undisturbed[start:], resumed, strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("stage", constants.STAGES)
def test_another_seed_and_another_step_give_other_batches(stage):
    other = tree.override(CONFIG, {"runtime.seed": 1})
    draw_from = catalogue.STAGES[stage]
    source = draw_from.source([fakes.slices(5, CONFIG)], CONFIG)
    batches = [*take(draw_from.batches(source, CONFIG), 2), *take(draw_from.batches(source, other), 1)]
    for first, second in itertools.combinations(batches, 2):
        assert any(not np.array_equal(first[name], second[name]) for name in first)


def test_each_pass_draws_every_slice_once_in_another_order():
    source = SliceSource(numbered_slices([[True, True]] * 6), 2)
    drawn = draw(source.modality(0, seed=0, start=0), 24)
    passes = [drawn[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(p) == list(range(6)) for p in passes)
    assert len(set(map(tuple, passes))) > 1


def test_modalities_are_drawn_independently():
    source = SliceSource(numbered_slices([[True, True]] * 6), 2)
    first, second = (draw(source.modality(index, seed=0, start=0), 6) for index in (0, 1))
    assert first != second


def test_a_modality_is_drawn_only_from_slices_that_have_it():
    source = SliceSource(numbered_slices([[True, True], [True, False], [False, True], [True, False]]), 2)
    assert source.counts == [3, 2]
    assert sorted(draw(source.modality(0, seed=0, start=0), 3)) == [0, 1, 3]
    assert sorted(draw(source.modality(1, seed=0, start=0), 2)) == [0, 2]


@pytest.mark.parametrize("start", [1, 4, 5, 11])
def test_a_stream_starts_anywhere(start):
    source = SliceSource(numbered_slices([[True]] * 5), 1)
    assert (
        draw(source.modality(0, seed=3, start=start), 4) == draw(source.modality(0, seed=3, start=0), start + 4)[start:]
    )


@pytest.fixture
def two_sources(monkeypatch) -> SliceSource:
    """10 slices of the first source and 30 of the second, of which few are in memory at a time."""
    monkeypatch.setattr(input_pipeline, "_BUFFER", 4)
    slices = numbered_slices([[True, True]] * 40)
    return SliceSource([slices.take(10), slices.skip(10)], 2)


def test_sources_are_drawn_at_their_shares_however_few_slices_are_in_memory(two_sources):
    # 30 of 120 draws in each quarter of 12 passes: the sd of a sample is 4.7 at most.
    passes = np.array(draw(two_sources.modality(0, seed=0, start=0), 480)).reshape(12, 4, 10)
    assert np.all(np.abs(np.sum(passes < 10, axis=(0, 2)) - 30) < 15)
    assert all(sorted(one.ravel()) == list(range(40)) for one in passes)
    assert len({tuple((one < 10).ravel()) for one in passes}) == 12


@pytest.mark.parametrize("start", [1, 40, 57])
def test_a_stream_of_several_sources_starts_anywhere(two_sources, start):
    whole = draw(two_sources.modality(1, seed=3, start=0), start + 6)
    assert draw(two_sources.modality(1, seed=3, start=start), 6) == whole[start:]


def test_the_order_of_one_source_follows_from_the_seed():
    # Recorded, so that a change of the order, which would change all trainings, does not go unnoticed.
    source = SliceSource(numbered_slices([[True]] * 8), 1)
    assert draw(source.modality(0, seed=0, start=0), 16) == [3, 1, 0, 2, 6, 7, 4, 5, 7, 5, 2, 6, 3, 4, 0, 1]


def test_sources_may_lack_a_modality_that_others_have():
    sources = [numbered_slices([[True, False]] * 2), numbered_slices([[True, True]] * 3)]
    source = SliceSource(sources, 2)
    assert source.counts == [5, 3]
    assert sorted(draw(source.modality(1, seed=0, start=0), 3)) == [0, 1, 2]


def test_a_modality_without_slices_is_refused_with_the_counts():
    with pytest.raises(ValueError, match=r"no labelled training slice.*\[2, 0\]"):
        SliceSource(numbered_slices([[True, False]] * 2), 2)


def test_unlabelled_slices_are_not_trained_on():
    slices = numbered_slices([[True]] * 4).map(lambda x: {**x, "has_label": x["image"][0, 0, 0, 0] < 2, "case_id": "a"})
    kept = list(input_pipeline.training_features(slices))
    assert [int(x["image"][0, 0, 0, 0]) for x in kept] == [0, 1]
    assert set(kept[0]) == {"image", "label", "available"}


def test_segmentation_batches_hold_slices_with_their_labels():
    config = still(CONFIG)
    slices = fakes.slices(5, config)
    known = {
        (i, example["image"][i].tobytes()): example["label"] for example in slices.as_numpy_iterator() for i in range(3)
    }
    for batch in take(segmentation_batches(SliceSource(slices, 3), config), 3):
        assert batch["image"].shape == (2, 3, fakes.SIZE, fakes.SIZE, 1) and batch["image"].dtype == np.float32
        for row, i in itertools.product(range(2), range(3)):
            image = batch["image"][row, i].astype(np.float16)
            np.testing.assert_array_equal(batch["label"][row, i], known[i, image.tobytes()])


def test_structure_batches_hold_maps_masks_and_normal_codes(source):
    batches = take(structure_batches(source, CONFIG), 40)
    for name in ("structure", "background"):
        values = np.stack([b[name] for b in batches])
        assert values.shape == (40, 2, fakes.SIZE, fakes.SIZE, 1) and set(np.unique(values)) == {0.0, 1.0}
        # The image's corners are outside the head.
        assert np.all(values[:, :, 0, 0] == (name == "background"))
    noise, code = (np.stack([b[name] for b in batches]) for name in ("noise", "code"))
    assert not np.array_equal(noise, code)
    for values in (noise, code):
        # 320 standard normal numbers.
        assert abs(values.mean()) < 0.25 and values.std() == pytest.approx(1.0, abs=0.2)


def test_every_map_has_the_position_of_its_slice():
    slices = fakes.slices(5, CONFIG).enumerate()
    slices = slices.map(lambda number, x: {**x, "position": tf.cast(number, tf.float32) / 4})
    source, known = catalogue.STAGES[constants.STRUCTURE].source([slices], CONFIG), {}
    for example in slices.as_numpy_iterator():
        for image in example["image"].astype(np.float32):
            for mirrored in (image, image[:, ::-1]):
                edges = structure_maps.structure_map(tf.constant(mirrored[None]), CONFIG.structure_map)
                known[edges.numpy().tobytes()] = example["position"]
    for batch in take(structure_batches(source, CONFIG), 6):
        assert [known[edges.tobytes()] for edges in batch["structure"]] == batch["position"].tolist()


def test_slices_without_positions_are_refused_where_they_are_needed():
    slices = numbered_slices([[True, True]] * 3)
    assert set(input_pipeline.training_features(slices).element_spec) == {"image", "label", "available"}
    with pytest.raises(prepared.PreparedDataError, match="no position: an earlier version of mmsynth_tf prepared them"):
        input_pipeline.training_features(slices, *catalogue.STAGES[constants.STRUCTURE].features(CONFIG))
    paper = tree.override(CONFIG, {"structure.formulation": constants.PAPER})
    assert catalogue.STAGES[constants.STRUCTURE].features(paper) == ()


def test_maps_are_learned_without_the_lesions_edges_where_the_paper_is_followed(source):
    still_config = still(CONFIG)
    erasing = tree.override(still_config, {"structure.formulation": "paper"})
    drawn = take(segmentation_batches(source, still_config), 20)
    images, labels = (np.concatenate([batch[name] for batch in drawn]) for name in ("image", "label"))
    images, labels = (x.reshape(-1, *x.shape[2:]) for x in (images, labels))
    edges = structure_maps.structure_map(tf.constant(images), CONFIG.structure_map).numpy()
    known = {x.tobytes(): y.tobytes() for x, y in zip(edges, edges * (labels == 0), strict=True)}
    assert any(whole != without for whole, without in known.items())
    for plain, erased in zip(
        take(structure_batches(source, still_config), 4), take(structure_batches(source, erasing), 4), strict=True
    ):
        assert [known[x.tobytes()] for x in plain["structure"]] == [x.tobytes() for x in erased["structure"]]


@pytest.mark.parametrize(("triples", "registered"), [(0, False), (1, False), (1, True)])
def test_synthesis_batches_are_consistent(triples, registered):
    config = fakes.tiny_config(3, synthesis__choices__registered=registered, synthesis__triples_per_slice=triples)
    source, sources = catalogue.STAGES[constants.SYNTHESIS].source([fakes.slices(5, config)], config), []
    for batch in take(synthesis_batches(source, config), 12):
        for row in range(2):
            images, labels = batch["image"][row], batch["label"][row]
            background = structure_maps.background_mask(images, expand=(2, 2)).numpy()
            edges = structure_maps.structure_map(tf.constant(images), config.structure_map).numpy() * (labels == 0)
            chosen = batch["fusion_label"][row]
            assert not np.any(batch["background"][row] * chosen)
            expected = edges * (chosen == 0)
            drawn = [i for i in range(3) if np.array_equal(batch["structure"][row], expected[i])]
            # One map rebuilds all of a registered row.
            rebuilding = drawn if registered else [0, 1, 2]
            np.testing.assert_array_equal(batch["own_background"][row], background[rebuilding])
            np.testing.assert_array_equal(batch["own_structure"][row], edges[rebuilding])
            assert registered == np.all(labels == labels[:1])
            sources += drawn
        assert batch["pair_source"].shape == batch["pair_target"].shape == (2, 2 if triples else 6)
        assert np.all(batch["pair_source"] != batch["pair_target"])
    # Each row's map is that of one of its slices, and every modality gives some.
    assert len(sources) == 24 and set(sources) == {0, 1, 2}


def test_registered_rows_hold_all_modalities_of_one_slice_and_leave_out_incomplete_ones(caplog):
    stage = catalogue.STAGES[constants.SYNTHESIS]
    config = fakes.tiny_config(2, synthesis__choices__augmentation=constants.UNCHANGED)
    slices = list(fakes.slices(3, config).as_numpy_iterator())
    slices[1] = {**slices[1], "available": np.array([False, True])}
    incomplete = tf.data.Dataset.from_tensor_slices({name: np.stack([s[name] for s in slices]) for name in slices[0]})
    drawn = take(synthesis_batches(stage.source([incomplete], config), config), 6)
    whole = {s["image"].astype(np.float32).tobytes(): s["label"] for s in (slices[0], slices[2])}
    assert {image.tobytes() for batch in drawn for image in batch["image"]} == set(whole)
    for batch in drawn:
        for image, labels in zip(batch["image"], batch["label"], strict=True):
            assert all(np.array_equal(label, whole[image.tobytes()]) for label in labels)
    assert "1 of 3 labelled training slices lack a modality" in caplog.text


@pytest.mark.parametrize("registered", [True, False])
def test_slices_of_single_modalities_are_refused_where_registered_ones_are_needed(registered):
    config = fakes.tiny_config(2, synthesis__choices__registered=registered)
    single = [numbered_slices([[True, False]]), numbered_slices([[False, True]])]
    with pytest.raises(UserError, match="formulation=unregistered") if registered else contextlib.nullcontext():
        catalogue.STAGES[constants.SYNTHESIS].refuse(single, config)
    catalogue.STAGES[constants.SYNTHESIS].refuse([*single, numbered_slices([[True, True]])], config)


def test_augmentation_moves_image_and_label_together_and_can_be_left_out(rng):
    batch = fakes.unregistered_slices(rng, CONFIG, batch_size=2)
    marked = {**batch, "image": tf.cast(batch["label"], tf.float32)}
    still = configs.AugmentationConfig(scale=0.0, rotation=0.0, translation=0.0, flip=True)
    moved = input_pipeline.augment(marked, constants.WEAK, still, tf.constant([1, 2]))
    np.testing.assert_allclose(moved["image"], tf.cast(moved["label"], tf.float32), atol=1e-5)
    assert not np.array_equal(moved["label"], marked["label"])
    assert input_pipeline.augment(marked, constants.UNCHANGED, still, tf.constant([1, 2])) is marked


def test_strong_augmentation_moves_every_slice_of_its_own(rng):
    batch = fakes.unregistered_slices(rng, CONFIG, batch_size=2)
    same = {name: tf.broadcast_to(value[:1, :1], value.shape) for name, value in batch.items()}
    moved = input_pipeline.augment(same, constants.STRONG, configs.AugmentationConfig(), tf.constant([1, 2]))
    assert moved["image"].shape == batch["image"].shape and moved["label"].dtype == batch["label"].dtype
    assert len({label.tobytes() for row in moved["label"].numpy() for label in row}) > 1


def test_maps_are_those_of_mirrored_slices_whatever_is_augmented(source):
    wild = tree.override(CONFIG, {"augmentation.rotation": 90.0})
    upright = {x.tobytes() for batch in take(structure_batches(source, wild), 6) for x in batch["structure"]}
    images = np.concatenate([batch["image"] for batch in take(segmentation_batches(source, still(CONFIG)), 20)])
    images = images.reshape(-1, *images.shape[2:])
    both = np.concatenate([images, images[:, :, ::-1]])
    known = {x.tobytes() for x in structure_maps.structure_map(both, CONFIG.structure_map).numpy()}
    assert upright <= known


def still(config):
    """Without augmentation."""
    unmoved = {f"augmentation.{name}": value for name, value in (("scale", 0.0), ("rotation", 0.0), ("flip", False))}
    return tree.override(
        config, {**unmoved, "augmentation.translation": 0.0, "segmentation.formulation": constants.PAPER}
    )


def test_registered_batches_keep_the_order_and_every_feature():
    slices = fakes.slices(5, CONFIG)
    batches = list(input_pipeline.registered_batches(slices, 2))
    assert [len(b["label"]) for b in batches] == [2, 2, 1]
    assert batches[0]["image"].dtype == tf.float32
    labels = np.concatenate([b["label"] for b in batches])
    np.testing.assert_array_equal(labels, [x["label"] for x in slices.as_numpy_iterator()])
