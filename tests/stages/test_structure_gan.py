"""Structure generation: literal losses, and which networks each loss trains."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import literal_method
from mmsynth_tf import constants
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs.structure import STRUCTURE_FORMULATIONS
from mmsynth_tf.stages.structure.gan import StructureGAN
from tests.fakes import fakes, training_checks

# Method §3, column "trains".
TRAINED_GENERATORS = {
    "code_adversarial": {"encoder"},
    "map_adversarial": {"decoder"},
    "moments": {"encoder"},
    "divergence": {"encoder"},
    "reconstruction": {"encoder", "decoder"},
    "reconstruction_outside": {"encoder", "decoder"},
    "mask": {"mask_generator"},
    "mask_structure": {"encoder", "decoder", "mask_generator"},
}
TRAINED_DISCRIMINATORS = {
    "code_discriminator": {"code_discriminator"},
    "map_discriminator": {"map_discriminator"},
}
TRAINED = {**TRAINED_GENERATORS, **TRAINED_DISCRIMINATORS}


def networks(model: StructureGAN) -> dict[str, list[tf.keras.Model]]:
    names = ("encoder", "decoder", "mask_generator", "map_discriminator", "code_discriminator")
    return {name: [getattr(model, name)] for name in names}


def build(**settings) -> StructureGAN:
    return fakes.structure_gan(fakes.tiny_config(**settings))


@contextlib.contextmanager
def literal(**choices) -> Iterator[dict[str, str | float]]:
    """Settings of the method's own formulas, all of which have a weight, with some choices changed."""
    changes = literal_method.STRUCTURE_CHOICES | choices
    with literal_method.formulation(STRUCTURE_FORMULATIONS, "literal", **changes) as name:
        yield {"structure__formulation": name, "structure__weights__moments": 0.1}


@pytest.fixture(scope="module")
def model():
    with literal() as settings:
        return build(**settings)


@pytest.fixture(scope="module")
def batch():
    with literal() as settings:
        return fakes.structure_batch(np.random.default_rng(0), fakes.tiny_config(**settings), batch_size=3)


@pytest.fixture(scope="module")
def prober():
    # Spectral normalisation rescales discriminators in every pass, so it would look like training.
    with literal(discriminator_normalization=constants.NONE) as settings:
        return training_checks.StepProber(build(**settings), networks, traced=True)


@pytest.mark.parametrize("normalization", constants.DISCRIMINATOR_NORMALIZATIONS)
def test_every_term_equals_the_literal_formula(batch, normalization):
    with literal(discriminator_normalization=normalization) as settings:
        model = build(**settings)
    expected = literal_method.structure_terms(model, batch)
    actual = model.loss_terms(batch, model.forward(batch, training=False))
    training_checks.assert_terms_close(actual, expected)


def test_the_groups_use_every_term_once(model):
    assert sorted(model.terms) == sorted(TRAINED)
    assert sorted(build(structure__weights__moments=0.1).terms) == sorted([*TRAINED, "flow"])


def test_a_term_of_weight_0_is_not_computed(batch):
    model = build(structure__formulation="paper", structure__weights__divergence=0.0)
    assert set(model.loss_terms(batch, model.forward(batch, training=False))) == set(TRAINED) - {
        "moments",
        "divergence",
    }


@pytest.mark.parametrize(
    ("group", "table"), [("generator", TRAINED_GENERATORS), ("discriminator", TRAINED_DISCRIMINATORS)]
)
def test_each_term_reaches_exactly_the_networks_it_should_train(model, batch, group, table):
    assert training_checks.networks_reached(model, batch, group, networks(model)) == table


def test_a_step_on_one_term_moves_only_its_networks(prober, batch):
    assert {term: prober.moved_by([term], batch) for term in TRAINED} == TRAINED


def test_a_step_on_all_terms_moves_every_network(prober, batch):
    assert prober.moved_by(TRAINED, batch) == set(networks(prober.model))


def test_every_variable_has_a_gradient(model, batch):
    training_checks.assert_no_idle_variable(model, batch)


def test_in_the_paper_s_formulation_mean_filters_still_train(batch):
    training_checks.assert_no_idle_variable(build(structure__formulation="paper"), batch)


def test_sampling_decodes_codes_one_by_one(model, batch):
    structures, backgrounds = model.sample(batch["code"], batch["position"])
    assert structures.shape == backgrounds.shape == (3, fakes.SIZE, fakes.SIZE, 1)
    for row in range(3):
        structure, background = model.sample(batch["code"][row : row + 1], batch["position"][row : row + 1])
        np.testing.assert_allclose(structure[0], structures[row], atol=1e-5)
        np.testing.assert_allclose(background[0], backgrounds[row], atol=1e-5)
    assert np.all((structures >= 0) & (structures <= 1))


def test_sampled_heads_have_no_parts_without_edges_and_no_holes(model, batch, monkeypatch):
    background, structure = (np.full((1, fakes.SIZE, fakes.SIZE, 1), value, np.float32) for value in (0.9, 0.1))
    background[0, 1:4, 1:4], background[0, 6:12, 6:12] = 0.1, 0.1
    background[0, 9:11, 8:10] = 0.9
    structure[0, 7, 8:11] = 0.9
    monkeypatch.setattr(model, "sample", lambda code, position: (tf.constant(structure), tf.constant(background)))
    edges, outside = model.sample_binary(batch["code"][:1], batch["position"][:1])
    np.testing.assert_array_equal(edges, structure > 0.5)
    expected = np.ones_like(background)
    expected[0, 6:12, 6:12] = 0.0
    np.testing.assert_array_equal(outside, expected)


def test_noise_gets_the_moments_of_real_codes(rng):
    # An untrained flow, of an even number of couplings, changes nothing.
    model = build()
    codes = rng.multivariate_normal([1.0, 2.0, 0.0, 0.0], np.diag([4.0, 1.0, 0.25, 1.0]) + 0.1, size=400)
    for _ in range(800):
        model.observe(tf.constant(codes, tf.float32))
    noise = tf.constant(rng.standard_normal((20_000, 4)), tf.float32)
    drawn = model.latent(noise, model.condition(tf.zeros([20_000]))).numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T, bias=True), atol=0.12)


def test_without_matching_the_noise_is_the_code(model, rng):
    code = tf.constant(rng.standard_normal((3, 4)), tf.float32)
    np.testing.assert_array_equal(model.latent(code, tf.zeros([3, 0])), code)


@pytest.fixture
def whole_batch(rng):
    return fakes.structure_batch(rng, fakes.tiny_config())


def test_a_position_is_described_by_cosines_that_end_where_the_head_ends():
    condition = build().condition(tf.constant([0.0, 0.5, 1.0, 1.2])).numpy()
    np.testing.assert_allclose(condition, [[1, 1, 1, 1], [0, -1, 0, 1], *[[-1, 1, -1, 1]] * 2], atol=1e-6)


def moved_to(position, batch):
    return {**batch, "position": tf.fill(batch["position"].shape, position)}


CONDITIONED = ("z_mean", "reconstructed_structure", "fake_structure", "real_scores", "fake_scores")


def test_networks_know_the_position(whole_batch):
    model = build()
    # A flow starts with shifts and scales that nothing reaches.
    for variable in model.code_flow.trainable_variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [0, 1]))
    low, high = (model.forward(moved_to(position, whole_batch), training=False) for position in (0.1, 0.8))
    for name in (*CONDITIONED, "normal_code_scores", "encoded_code_scores"):
        assert np.abs(low[name] - high[name]).max() > 1e-4, name
    codes = [model.latent(whole_batch["code"][:, :4], tensors["condition"]) for tensors in (low, high)]
    assert np.abs(codes[0] - codes[1]).max() > 1e-3
    # One code gives one map at each position.
    maps = [model.sample(whole_batch["code"], moved_to(p, whole_batch)["position"])[0] for p in (0.1, 0.8)]
    assert np.abs(maps[0] - maps[1]).max() > 1e-4


def test_the_paper_s_networks_do_not_know_the_position(batch):
    model = build(structure__formulation="paper")
    low, high = (model.forward(moved_to(position, batch), training=False) for position in (0.1, 0.8))
    for name in CONDITIONED:
        np.testing.assert_array_equal(low[name], high[name], err_msg=name)
    assert model.encoder.input_shape == model.map_discriminator.input_shape == (None, 16, 16, 1)


def test_beyond_the_paper_every_variable_has_a_gradient(whole_batch):
    model = build()
    # A flow starts with shifts and scales that nothing reaches.
    for variable in model.code_flow.trainable_variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [0, 1]))
    training_checks.assert_no_idle_variable(model, whole_batch)


def test_the_end_of_a_code_is_detail(whole_batch):
    model, code = build(), whole_batch["code"].numpy()
    assert model.code_dim == 4 + 16 * 16 == code.shape[1]
    other = code.copy()
    other[0, -1] += 1.0
    condition = model.condition(whole_batch["position"])
    inputs = ([tf.concat([c[:, :4], condition], 1), tf.reshape(c[:, 4:], [2, 16, 16, 1])] for c in (code, other))
    before, after = (model.decoder(given).numpy()[..., 0] for given in inputs)
    changed = np.abs(after - before) > 0
    assert changed[0, -2:, -2:].any()
    assert not changed[0, :4, :4].any() and not changed[1].any()
    maps = [model.decode(tf.constant(c), whole_batch["position"]).numpy() for c in (code, other)]
    assert np.any(maps[0][0] != maps[1][0]) and np.all(maps[0][1] == maps[1][1])


def test_maps_are_the_edges_of_what_the_decoder_draws(batch):
    with literal(edges_of_picture=True) as settings:
        model = build(**settings)
    picture = model.decoder([batch["code"]])
    maps = model.decode(batch["code"], batch["position"])
    edges = structure_maps.structure_map(picture, fakes.tiny_config().structure_map).numpy()
    assert edges.any() and np.mean((maps >= 0.5) == edges) > 0.9
    np.testing.assert_allclose(
        maps, structure_maps.soft_structure_map(picture, fakes.tiny_config().structure_map), atol=1e-5
    )


def test_the_edge_offset_brings_as_many_edges_as_real_maps_have(rng):
    model = build()
    fake = tf.constant(rng.uniform(size=(4, 16, 16, 1)), tf.float32)
    real = tf.cast(fake > 0.8, tf.float32)
    for _ in range(200):
        model.observe_edges(real, fake)
    assert float(tf.sigmoid(-model.edge_offset)) == pytest.approx(0.8, abs=0.03)


def test_the_edge_offset_is_added_to_the_log_odds_of_generated_edges(whole_batch):
    model = build()
    given = whole_batch["code"], whole_batch["position"]
    before = model.decode(*given).numpy()
    model.edge_offset.assign(np.log(3.0))
    # Three times the odds p / (1 - p).
    np.testing.assert_allclose(model.decode(*given), 3 * before / (1 + 2 * before), rtol=1e-5)


def test_the_flow_learns_from_the_noise_of_a_code_in_eight_orders(whole_batch):
    model, noise = build(), np.zeros(whole_batch["noise"].shape, np.float32)
    noise[:, 0] = 2.0
    tensors = {
        **model.forward(whole_batch, training=False),
        "z_mean": tf.constant([[1.0, 0.0, 0.0, 0.0]] * 2),
        "z_log_var": tf.zeros([2, 4]),
    }
    # Moved by 0 or 4 of 4 dimensions the noise meets the mean, 3² = 9; in the six other orders it is 1² + 2² = 5.
    squares = (2 * 9 + 6 * 5) / 8
    likelihood = model.loss_terms({**whole_batch, "noise": tf.constant(noise)}, tensors)["flow"]
    assert float(likelihood) == pytest.approx(0.5 * squares / 4 + 0.5 * np.log(2 * np.pi), abs=1e-3)
