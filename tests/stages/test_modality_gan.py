"""Multimodal synthesis: literal losses, which networks each loss trains, and what the trained model answers."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import literal_method
from benchmarks.literal_method import ModalityOracle
from mmsynth_tf import constants
from mmsynth_tf.configs import tree
from mmsynth_tf.configs.synthesis import NO_REGISTERED_TERMS, SYNTHESIS_FORMULATIONS, SynthesisChoices
from mmsynth_tf.models.passes import one_pass
from mmsynth_tf.stages.synthesis.gan import ModalityGAN
from tests.fakes import fakes, training_checks

FUSION, IMAGE, DECODER = "fusion_encoder", "image_encoder", "decoder"
# Method §6: what each loss passes through, and so trains. The lesion processors learn from labelled real slices alone.
TRAINED_GENERATORS = {
    "translation_adversarial": {IMAGE, DECODER},
    "translation_class": {IMAGE, DECODER},
    "reconstruction": {IMAGE, DECODER},
    "paired_translation": {IMAGE, DECODER},
    "cycle": {IMAGE, DECODER},
    "cycle_consistency": {IMAGE, DECODER},
    "code_consistency": {IMAGE, DECODER},
    "adversarial": {FUSION, DECODER},
    "adversarial_class": {FUSION, DECODER},
    "joint_adversarial": {FUSION, DECODER},
    "code_adversarial": {FUSION, IMAGE},
    "structure": {FUSION, DECODER},
    "structure_agreement": {FUSION, DECODER},
    "lesion": {FUSION, DECODER},
    "translation": {FUSION, IMAGE, DECODER},
    "code": {FUSION, IMAGE, DECODER},
    "code_pairs": {FUSION, IMAGE, DECODER},
    "background": {FUSION, DECODER},
    "self_reconstruction": {FUSION, DECODER},
    "self_reconstruction_lesion": {FUSION, DECODER},
    "self_structure": {FUSION, DECODER},
}
TRAINED_DISCRIMINATORS = {
    "discriminator_real": {"discriminator"},
    "discriminator_synthetic": {"discriminator"},
    "discriminator_translated": {"discriminator"},
    "discriminator_class": {"discriminator"},
    "discriminator_class_synthetic": {"discriminator"},
    "discriminator_class_translated": {"discriminator"},
    "code_discriminator": {"feature_discriminator"},
    "joint_discriminator_real": {"joint_discriminator"},
    "joint_discriminator_synthetic": {"joint_discriminator"},
}
TRAINED_LESION = {"lesion_supervised": {"lesion_processor"}}
TRAINED = {**TRAINED_GENERATORS, **TRAINED_DISCRIMINATORS, **TRAINED_LESION}

UNREGISTERED = {
    "registered": False,
    "weights": NO_REGISTERED_TERMS,
}
# Modalities, classes and settings: both class heads, every lesion design, every form of fusion, both kinds of rows.
VARIANTS = [
    (2, 2, {"softmax_class": False, "segmentation__design": "1seg"}),
    (3, 5, {"softmax_class": True, "segmentation__design": "4seg"}),
    (3, 2, {"softmax_class": True, "segmentation__design": "1ecl_4dcl", "fusion_noise": True}),
    (4, 5, {"softmax_class": False, "segmentation__design": "4seg", "fusion_concatenate": True}),
    (3, 5, UNREGISTERED),
]


def networks(model: ModalityGAN) -> dict[str, list[tf.keras.Model]]:
    single = (FUSION, IMAGE, DECODER, "discriminator", "feature_discriminator")
    several = {
        "joint_discriminator": list(model.joint_discriminators),
        "lesion_processor": list(model.lesion_processor.networks),
    }
    return {name: [getattr(model, name)] for name in single} | several


CHOICES = {field.name for field in dataclasses.fields(SynthesisChoices)}


def tiny_config(num_modalities=3, num_classes=5, **settings):
    """Settings of the synthesis stage, its choices and the weights that belong to these by their names alone."""

    def path(name: str) -> str:
        if name.startswith("segmentation__"):
            return name
        return f"synthesis__choices__{name}" if name in CHOICES else f"synthesis__{name}"

    # Residual blocks are most of the layers and tested with the networks.
    settings = {"residual_blocks": 0, **settings}
    return fakes.tiny_config(num_modalities, num_classes, **{path(name): value for name, value in settings.items()})


def build(config=None) -> ModalityGAN:
    return fakes.modality_gan(config or tiny_config())


def terms_of(model: ModalityGAN, batch) -> dict[str, tf.Tensor]:
    return model.loss_terms(batch, model.forward(batch, training=False))


class Oracle(ModalityOracle):
    """Judges and rebuilds each slice once: calls of networks take most of the time here, and were repeated per term."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        judge, known = self._discriminator, {}

        def judge_once(image):
            if image.ref() not in known:
                known[image.ref()] = judge(image)
            return known[image.ref()]

        self._discriminator = judge_once

    _rebuilt = functools.cache(ModalityOracle._rebuilt)


def mean_of_rows(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@pytest.fixture(scope="module")
def batch():
    return fakes.synthesis_batch(np.random.default_rng(0), tiny_config())


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def prober():
    # Spectral normalisation rescales discriminators in every pass, so it would look like training.
    return training_checks.StepProber(
        build(tiny_config(discriminator_normalization=constants.NONE)), networks, traced=True
    )


@pytest.mark.parametrize(("modalities", "classes", "settings"), VARIANTS)
def test_every_term_equals_the_literal_sum_over_all_pairs(rng, modalities, classes, settings):
    config = tiny_config(modalities, classes, triples_per_slice=0, **settings)
    model, batch = build(config), fakes.synthesis_batch(rng, config)
    training_checks.assert_terms_close(terms_of(model, batch), Oracle(model, batch).terms())


@pytest.mark.parametrize("modalities", [2, 4])
def test_sampled_pairs_give_the_literal_sum_scaled_up(rng, modalities):
    config = tiny_config(modalities, triples_per_slice=2)
    model, batch = build(config), fakes.synthesis_batch(rng, config)
    oracles = [Oracle(model, row, literal_method.drawn_pairs(row)) for row in fakes.rows(batch)]
    expected = mean_of_rows([row.terms() for row in oracles])
    training_checks.assert_terms_close(terms_of(model, batch), expected)


def test_sampled_pairs_are_unbiased(rng):
    # Of four modalities, as with three the scale of cycle consistency is 1.
    # A batch that repeats one row once for each triple averages the estimate over all equally likely draws.
    config = tiny_config(4, triples_per_slice=1)
    model, row = build(config), fakes.synthesis_batch(rng, config, batch_size=1)
    triples = np.array(list(itertools.permutations(range(4), 3)), np.int32)
    batch = {name: tf.repeat(value, len(triples), axis=0) for name, value in row.items()}
    batch["pair_source"] = tf.constant(triples[:, [0, 0]])
    batch["pair_target"] = tf.constant(triples[:, [1, 2]])
    training_checks.assert_terms_close(terms_of(model, batch), Oracle(model, row).terms())


def test_pretrained_lesion_processors_judge_but_do_not_learn(batch):
    config = tiny_config(pretrained_lesion=True, discriminator_normalization=constants.NONE)
    prober = training_checks.StepProber(build(config), networks)
    assert set(prober.model.groups) == {"generator", "discriminator"}
    assert prober.moved_by(["lesion"], batch) == TRAINED["lesion"]
    assert prober.moved_by(TRAINED, batch) == set(networks(prober.model)) - {"lesion_processor"}
    assert "lesion_supervised" not in terms_of(prober.model, batch)


def test_two_modalities_leave_no_cycles_to_compare(rng):
    config = tiny_config(num_modalities=2, triples_per_slice=0)
    batch = fakes.synthesis_batch(rng, config)
    assert float(terms_of(build(config), batch)["cycle_consistency"]) == 0.0


def test_the_groups_use_every_term_once(model):
    assert sorted(term for group in model.groups.values() for term in group.terms) == sorted(TRAINED)


@pytest.mark.parametrize(
    ("group", "table"),
    [("generator", TRAINED_GENERATORS), ("discriminator", TRAINED_DISCRIMINATORS), ("lesion", TRAINED_LESION)],
)
def test_each_term_reaches_exactly_the_networks_it_should_train(model, batch, group, table):
    assert training_checks.networks_reached(model, batch, group, networks(model)) == table


def test_a_step_on_one_term_moves_only_its_networks(prober, batch):
    assert {term: prober.moved_by([term], batch) for term in TRAINED} == TRAINED
    assert prober.moved_by(TRAINED, batch) == set(networks(prober.model))


def test_no_other_term_moves_the_lesion_processors(prober, batch):
    moved = prober.moved_by(set(TRAINED) - {"lesion_supervised"}, batch)
    assert moved == set(networks(prober.model)) - {"lesion_processor"}


@pytest.mark.parametrize("design", constants.LESION_DESIGNS)
def test_every_variable_has_a_gradient(batch, design):
    training_checks.assert_no_idle_variable(build(tiny_config(segmentation__design=design)), batch)


def test_the_discriminator_sees_every_slice_in_a_contrast_of_its_own(rng):
    config = tiny_config(2, judged_intensity=0.7, discriminator_normalization=constants.NONE)
    plain = build(tiny_config(2, discriminator_normalization=constants.NONE))
    model, batch = build(config), fakes.synthesis_batch(rng, config)
    for ours, theirs in zip(model.networks.values(), plain.networks.values(), strict=True):
        ours.set_weights(theirs.get_weights())
    # In the middle gamma is 1; without darkening nothing changes.
    unchanged = np.stack(np.broadcast_arrays(0.5, np.zeros(batch["judged_contrast"].shape[:2])), axis=-1)
    as_they_are = {**batch, "judged_contrast": tf.constant(unchanged, tf.float32)}
    expected = terms_of(plain, batch)
    training_checks.assert_terms_close(terms_of(model, as_they_are), expected)

    n, pairs = 2, batch["pair_source"].shape[1]
    of_made = {"discriminator_synthetic", "adversarial", "adversarial_class"}
    of_made |= {"joint_discriminator_synthetic", "joint_adversarial"}
    groups = {
        "real": (0, n, {"discriminator_real", "discriminator_class", "joint_discriminator_real"}),
        "translated": (
            n,
            pairs,
            {
                *("discriminator_translated", "discriminator_class_translated"),
                *("translation_adversarial", "translation_class"),
            },
        ),
        "fake": (
            n + pairs,
            n,
            {"discriminator_class_synthetic", *of_made},
        ),
        "self": (2 * n + pairs, n, of_made),
    }
    for first, count, concerned in groups.values():
        for j in range(first, first + count):
            draws = unchanged.copy()
            draws[:, j] = 0.9
            terms = terms_of(model, {**batch, "judged_contrast": tf.constant(draws, tf.float32)})
            changed = {name for name in terms if not np.isclose(terms[name], expected[name], rtol=1e-5)}
            assert changed == concerned


def test_in_pretraining_slices_are_only_rebuilt_from_their_own_maps(batch):
    config = tiny_config(discriminator_normalization=constants.NONE)
    prober = training_checks.StepProber(build(config), networks)
    prober.model.in_pretraining = True
    assert prober.moved_by(TRAINED, batch) == {FUSION, DECODER, "discriminator", "joint_discriminator"}

    model = build(config)
    model.in_pretraining = True
    expected = mean_of_rows([Oracle(model, row).rebuilt_terms() for row in fakes.rows(batch)])
    training_checks.assert_terms_close(terms_of(model, batch), dict.fromkeys(model.terms, 0.0) | expected)


NO_REBUILDING = {"self_reconstruction": 0.0, "self_reconstruction_lesion": 0.0, "self_structure": 0.0}


def test_there_is_no_pretraining_without_self_reconstruction():
    assert build(tiny_config(pretraining_steps=5)).pretraining_steps == 5
    assert build(tiny_config(weights=NO_REBUILDING, pretraining_steps=5)).pretraining_steps == 0


def test_detached_translation_trains_the_translator_alone(batch):
    model = build(tiny_config(translation_detached=True))
    reached = training_checks.networks_reached(model, batch, "generator", networks(model))
    expected = {"translation": {IMAGE, DECODER}, "code": {IMAGE}, "code_pairs": {IMAGE}}
    assert reached == TRAINED_GENERATORS | expected


def test_mean_filters_still_train(batch):
    training_checks.assert_no_idle_variable(build(tiny_config(mean_filter_init=True, dropout=0.1)), batch)


def test_the_encoders_start_from_different_weights(model):
    first, second = (net.trainable_variables for net in (model.fusion_encoder, model.image_encoder))
    same = [
        np.array_equal(a, b) for a, b in zip(first, second, strict=True) if a.shape.rank == 4 and a.shape == b.shape
    ]
    assert same and not any(same)


def test_the_structure_loss_ignores_what_lies_in_the_chosen_lesion(model, batch):
    fake = model.forward(batch, training=False)["fake"]
    lesion = tf.cast(batch["fusion_label"] > 0, tf.float32)
    changed = {**batch, "structure": tf.where(lesion > 0, 1.0 - batch["structure"], batch["structure"])}
    assert tf.reduce_any(lesion > 0)
    first, second = (model.step_losses.of_full_rows(b, {"fake": fake})["structure"]() for b in (changed, batch))
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_the_papers_structure_loss_takes_the_whole_map(batch):
    model = build(tiny_config(erase_under_label=False))
    fake = model.forward(batch, training=False)["fake"]
    lesion = tf.cast(batch["fusion_label"] > 0, tf.float32)
    changed = {**batch, "structure": tf.where(lesion > 0, 1.0 - batch["structure"], batch["structure"])}
    first, second = (model.step_losses.of_full_rows(b, {"fake": fake})["structure"]() / 3 for b in (changed, batch))
    assert abs(first - second) > 1e-4


def test_without_weights_slices_are_not_rebuilt(batch):
    model = build(tiny_config(weights=NO_REBUILDING))
    assert not set(NO_REBUILDING) & set(terms_of(model, batch))
    assert "self_reconstructed" not in model.forward(batch, training=False)


@pytest.mark.parametrize("formulation", [constants.MEASURED, constants.UNREGISTERED, constants.PAPER])
def test_every_formulation_trains_every_variable_on_its_own_terms(rng, formulation):
    # Of codes of 4 x 4 pixels instance normalisation would leave nothing.
    changes = {"discriminator_normalization": constants.INSTANCE}
    name = fakes.synthesis_formulation(SYNTHESIS_FORMULATIONS[formulation], {}, **changes)
    config = tree.override(fakes.tiny_config(), {"synthesis.formulation": name})
    model = build(config)
    assert {"contrast", "self_structure"} <= set(model.terms) or formulation == constants.PAPER
    registered = set(NO_REGISTERED_TERMS) if formulation == constants.MEASURED else set()
    assert set(NO_REGISTERED_TERMS) & set(model.terms) == registered
    assert {"lesion_supervised", "discriminator_class_synthetic"} <= set(model.terms) or formulation != constants.PAPER
    training_checks.assert_no_idle_variable(model, fakes.synthesis_batch(rng, config))


def test_rows_that_are_not_full_are_rebuilt_from_their_own_maps_alone(rng):
    config = tiny_config(num_modalities=2, full_every=2)
    model, batch = build(config), fakes.synthesis_batch(rng, config, batch_size=3)
    oracles = [Oracle(model, row, literal_method.drawn_pairs(row)) for row in fakes.rows(batch)]
    rebuilt = mean_of_rows([oracle.rebuilt_terms() for oracle in oracles])
    rebuilt_full = mean_of_rows([oracle.rebuilt_terms() for oracle in oracles[::2]])
    full = mean_of_rows([oracle.terms() for oracle in oracles[::2]])
    expected = full | {name: full[name] - rebuilt_full[name] + rebuilt[name] for name in rebuilt}
    training_checks.assert_terms_close(terms_of(model, batch), expected)


def test_synthesised_slices_are_black_outside_the_head(model, batch):
    images = fakes.synthesize(model, batch)
    assert images.shape == (2, 3, fakes.SIZE, fakes.SIZE, 1)
    outside = np.broadcast_to(batch["background"][:, None] == 1, images.shape)
    assert np.all(images[outside] == 0) and np.all(images[~outside] > 0) and images.max() <= 1


def test_a_batch_is_synthesised_as_its_rows_alone(model, batch):
    together = fakes.synthesize(model, batch)
    for index, row in enumerate(fakes.rows(batch)):
        np.testing.assert_allclose(fakes.synthesize(model, row)[0], together[index], atol=1e-5)


def test_one_pass_runs_parts_of_different_length_as_one_batch(rng):
    calls = []

    def network(inputs, training):
        calls.append(inputs.shape[0])
        return [inputs * 2.0, inputs[..., :1] + 1.0]

    a, b = (tf.constant(rng.normal(size=(*shape, 4, 4, 3)), tf.float32) for shape in ((2, 1), (4, 3)))
    (doubled_a, plus_a), (doubled_b, plus_b) = one_pass(network, [a, b], training=False)
    assert calls == [2 * 1 + 4 * 3]
    for result, expected in (
        (doubled_a, 2 * a),
        (doubled_b, 2 * b),
        (plus_a, a[..., :1] + 1),
        (plus_b, b[..., :1] + 1),
    ):
        np.testing.assert_array_equal(result, expected)
