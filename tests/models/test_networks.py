"""Networks: shapes, ranges, refusals, initial weights."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import compat, constants
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.models import discriminators, layers, networks

SIZE = (16, 24)


def noise(*shape: int) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, [1, 2])


def code_of(shape=(4, 6, 8)) -> tf.Tensor:
    return noise(2, *shape)


# Network, its inputs, and the shapes of its outputs.
NETWORKS = {
    "structure encoder": (
        lambda: networks.structure_encoder(SIZE, latent_dim=5, base_filters=2, max_filters=4),
        lambda: noise(2, *SIZE, 1),
        [(2, 5), (2, 5)],
    ),
    "structure decoder": (
        lambda: networks.structure_decoder(SIZE, latent_dim=5, base_filters=2, max_filters=4),
        lambda: noise(2, 5),
        [(2, *SIZE, 1)],
    ),
    "mask generator": (
        lambda: networks.mask_generator(SIZE, base_filters=2),
        lambda: noise(2, *SIZE, 1),
        [(2, *SIZE, 1)],
    ),
    "patch discriminator": (
        lambda: discriminators.patch_discriminator(SIZE, base_filters=2),
        lambda: noise(2, *SIZE, 1),
        [(2, 2, 3, 1)],
    ),
    "patch discriminator with classes": (
        lambda: discriminators.patch_discriminator(SIZE, base_filters=2, class_outputs=3),
        lambda: noise(2, *SIZE, 1),
        [(2, 2, 3, 1), (2, 2, 3, 3)],
    ),
    "code discriminator": (lambda: discriminators.code_discriminator(5, units=4), lambda: noise(2, 5), [(2, 1)]),
    "deep patch discriminator": (
        lambda: discriminators.patch_discriminator(SIZE, base_filters=2, halvings=4),
        lambda: noise(2, *SIZE, 1),
        [(2, 1, 2, 1)],
    ),
    "feature discriminator": (
        lambda: discriminators.feature_discriminator((4, 6, 8), base_filters=2),
        code_of,
        [(2, 1, 2, 1)],
    ),
    "image encoder": (
        lambda: networks.image_encoder(SIZE, 3, base_filters=2, residual_blocks=1, dropout=0.1),
        lambda: noise(2, *SIZE, 3),
        [(2, 4, 6, 8)],
    ),
    "image decoder": (
        lambda: networks.image_decoder((4, 6, 8), 3, base_filters=2, residual_blocks=1, conditional_normalization=True),
        lambda: [code_of(), tf.one_hot([0, 2], 3), tf.zeros([2, 0])],
        [(2, *SIZE, 1)],
    ),
    "deep image encoder": (
        lambda: networks.image_encoder(SIZE, 3, base_filters=2, residual_blocks=1, halvings=3, skips=True),
        lambda: noise(2, *SIZE, 3),
        [(2, 2, 3, 8), (2, 4, 6, 8), (2, 8, 12, 4), (2, *SIZE, 2)],
    ),
    "deep image decoder": (
        lambda: networks.image_decoder(
            (2, 3, 8), 3, base_filters=2, residual_blocks=1, halvings=3, skips=True, conditional_normalization=True
        ),
        lambda: [
            noise(2, 2, 3, 8),
            noise(2, 4, 6, 8),
            noise(2, 8, 12, 4),
            noise(2, *SIZE, 2),
            tf.one_hot([0, 2], 3),
            tf.zeros([2, 0]),
        ],
        [(2, *SIZE, 1)],
    ),
    "unet encoder": (
        lambda: networks.unet_encoder(SIZE, 1, base_filters=2, levels=3),
        lambda: noise(2, *SIZE, 1),
        [(2, 16, 24, 2), (2, 8, 12, 4), (2, 4, 6, 8)],
    ),
    "unet decoder": (
        lambda: networks.unet_decoder(SIZE, 5, base_filters=2, levels=2),
        lambda: [noise(2, 16, 24, 2), noise(2, 8, 12, 4)],
        [(2, *SIZE, 5)],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_have_the_documented_shapes_in_float32(name):
    build, make_inputs, shapes = NETWORKS[name]
    outputs = tf.nest.flatten(build()(make_inputs()))
    assert [tuple(output.shape) for output in outputs] == shapes
    assert all(output.dtype == tf.float32 and np.all(np.isfinite(output)) for output in outputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_gives_what_its_images_give_alone(name):
    build, make_inputs, _ = NETWORKS[name]
    network, inputs = build(), make_inputs()
    together = tf.nest.flatten(network(inputs))
    for row in range(2):
        alone = tf.nest.flatten(network(tf.nest.map_structure(lambda x, row=row: x[row : row + 1], inputs)))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[row], atol=1e-5)


@pytest.mark.parametrize("name", ["structure decoder", "mask generator", "image decoder"])
def test_single_probabilities_lie_between_zero_and_one(name):
    build, make_inputs, _ = NETWORKS[name]
    values = build()(make_inputs()).numpy()
    assert values.min() > 0 and values.max() < 1


def test_class_probabilities_add_up_to_one():
    build, make_inputs, _ = NETWORKS["unet decoder"]
    np.testing.assert_allclose(tf.reduce_sum(build()(make_inputs()), axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_decoder_heeds_the_modality_asked_for_far_from_the_border(conditional):
    # Zero padding lets a condition show at the border even where normalisation erases it elsewhere.
    decoder = networks.image_decoder(
        (16, 16, 4), 2, base_filters=2, residual_blocks=0, conditional_normalization=conditional
    )
    code = noise(1, 16, 16, 4)
    first, second = (decoder([code, tf.one_hot([i], 2), tf.zeros([1, 0])])[0, 28:36, 28:36] for i in (0, 1))
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: networks.image_encoder((16, 18), 1, base_filters=2, residual_blocks=0), "divisible by 4"),
        (lambda: networks.unet_encoder((16, 20), 1, base_filters=2, levels=4), "divisible by 8"),
        (lambda: networks.structure_encoder((15, 16), latent_dim=2, base_filters=2, max_filters=2), "cannot be halved"),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused_with_the_divisor(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def kernels(network: tf.keras.Model) -> list[np.ndarray]:
    return [v.numpy() for v in network.trainable_variables if v.shape.rank == 4]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 32), (32, 16, 1)), ((32, 64), (16, 32, 1)), ((240, 240), (30, 30, 1)), ((16, 16), (16, 16, 1))],
)
def test_detail_has_twice_the_resolution_of_the_last_halving(size, expected):
    # 64 x 32, 32 x 16, 16 x 8; 240, 120, 60, 30, 15.
    assert networks.detail_shape(size) == expected


def test_mean_filters_start_as_means_that_differ_a_little():
    initializer = networks.generator_initializer(mean_filter=True)
    network = networks.unet_encoder(SIZE, 1, base_filters=2, levels=2, initializer=initializer)
    for kernel in kernels(network):
        np.testing.assert_allclose(kernel, 1 / np.prod(kernel.shape[:-1]), atol=1e-5)
        assert np.unique(kernel).size > 1
    assert networks.MeanFilter.from_config(initializer.get_config()).stddev == initializer.stddev


def test_layers_of_one_shape_start_with_different_weights():
    initializer = networks.generator_initializer(mean_filter=False)
    network = networks.image_encoder(SIZE, 1, base_filters=2, residual_blocks=2, initializer=initializer)
    residual = [kernel for kernel in kernels(network) if kernel.shape == (3, 3, 8, 8)]
    assert len(residual) == 4
    assert not any(np.array_equal(residual[0], other) for other in residual[1:])


def test_discriminators_start_with_the_standard_deviation_asked_for():
    network = discriminators.patch_discriminator(SIZE, base_filters=16, normalization=constants.NONE, init_stddev=0.2)
    for kernel in kernels(network)[1:3]:
        assert kernel.std() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("choice", constants.DISCRIMINATOR_NORMALIZATIONS)
def test_normalisation_of_discriminators_is_a_choice(choice):
    network = discriminators.patch_discriminator(SIZE, base_filters=2, normalization=choice)
    kinds = {type(layer) for layer in network.layers}
    assert (compat.SpectralNormalization in kinds) == (choice == constants.SPECTRAL)
    by_instance = (constants.INSTANCE, constants.INSTANCE_EVERYWHERE)
    assert (layers.InstanceNormalization in kinds) == (choice in by_instance)


DISCRIMINATORS = {
    "of maps": lambda **choice: discriminators.patch_discriminator(SIZE, base_filters=16, **choice),
    "of codes": lambda **choice: discriminators.code_discriminator(256, **choice),
    "of features": lambda **choice: discriminators.feature_discriminator((8, 8, 64), base_filters=16, **choice),
}


@pytest.mark.parametrize("build", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_normalised_everywhere_scores_do_not_grow_with_the_input_nor_with_depth(build):
    choice = {"normalization": constants.INSTANCE_EVERYWHERE, "init_stddev": 0.2}
    network = build(**choice)
    images = noise(4, *network.input_shape[1:])
    scores = network(images).numpy()
    # Features have squares of 0.52 on average behind a leaky ReLU of slope 0.2: those that a score sums up, at most
    # 9 x 32, give it a deviation of 0.2 sqrt(0.52 x 288) = 2.4; of the dense layer's 256 it is 2.3.
    assert np.sqrt(np.mean(scores**2)) < 5.0
    np.testing.assert_allclose(network(100.0 * images), scores, rtol=0.05, atol=0.05)
    plain = build(normalization=constants.NONE, init_stddev=0.2)
    assert np.abs(plain(100.0 * images)).mean() > 20.0


@pytest.mark.parametrize("own", [False, True])
def test_a_class_head_of_its_own_shares_nothing_with_the_other(own):
    network = discriminators.patch_discriminator(SIZE, base_filters=2, class_outputs=3, own_class_features=own)
    with tf.GradientTape(persistent=True) as tape:
        totals = [tf.reduce_sum(output**2) for output in network(noise(2, *SIZE, 1), training=True)]
    score, classes = (
        {i for i, gradient in enumerate(tape.gradient(total, network.trainable_variables)) if gradient is not None}
        for total in totals
    )
    assert score | classes == set(range(len(network.trainable_variables)))
    assert bool(score & classes) != own


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(UserError, match="choose none, spectral, instance, instance_everywhere"):
        discriminators.patch_discriminator(SIZE, base_filters=2, normalization="batch")


def test_dropout_acts_in_training_only():
    network = networks.image_encoder(SIZE, 1, base_filters=2, residual_blocks=0, dropout=0.5)
    images = noise(1, *SIZE, 1)
    np.testing.assert_array_equal(network(images, training=False), network(images, training=False))
    assert not np.array_equal(network(images, training=True), network(images, training=True))


@pytest.mark.parametrize(("halvings", "expected"), [(3, 54), (4, 110)])
def test_the_receptive_field_of_patch_discriminators_is_what_is_stated(halvings, expected):
    assert slice_sizes.receptive_field(halvings) == expected
    # Without normalisation, which sees the whole slice.
    network = discriminators.patch_discriminator(
        (256, 256), base_filters=2, halvings=halvings, normalization=constants.NONE
    )
    image = tf.Variable(noise(1, 256, 256, 1))
    with tf.GradientTape() as tape:
        centre = network(image)[0, 128 >> halvings, 128 >> halvings, 0]
    seen = np.flatnonzero(np.any(tape.gradient(centre, image)[0, :, :, 0] != 0, axis=0))
    assert seen[-1] - seen[0] + 1 == expected
