"""Translation of slices with a trained synthesis stage."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.algorithms import fusion, guided_filter, structure_maps
from mmsynth_tf.configs import DataConfig, TranslationConfig, slice_sizes
from mmsynth_tf.errors import UserError
from mmsynth_tf.stages.synthesis import contrast, translation
from mmsynth_tf.stages.synthesis.translation import Translator
from tests.fakes import fakes

CONFIG = fakes.tiny_config(3, 5, synthesis__choices__contrast_condition=True, synthesis__choices__skips=True)


@pytest.fixture(scope="module")
def batch():
    return fakes.synthesis_batch(np.random.default_rng(0), CONFIG)


@pytest.fixture(scope="module")
def model(batch):
    """A model that heeds contrasts: their scale has seen slices, and no weight is 0."""
    gan = fakes.modality_gan(CONFIG)
    gan.forward(batch, training=True)
    for variable in gan.decoder.trainable_variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [0, 1]))
    return gan


def translate(model, images, target, label=None, map_share=0.5, guide_share=0.0):
    """Translates slices [B, H, W, m] of the first m modalities; the others are not given."""
    config = TranslationConfig(map_share=map_share, guide_share=guide_share)
    channels = tf.pad(images, [[0, 0]] * 3 + [[0, 3 - images.shape[-1]]])
    return Translator(model, config).translate(channels, tf.constant(target), label).numpy()


def test_each_slice_is_translated_to_its_own_target(model, batch):
    images, label = batch["image"][:, 0], batch["label"][:, 0]
    together = translate(model, images, [1, 2], label)
    for row, target in enumerate((1, 2)):
        alone = translate(model, images[row : row + 1], [target], label[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    assert np.all(together[images.numpy() == 0] == 0)
    assert not np.allclose(translate(model, images, [2, 1], label), together, atol=1e-3)


@pytest.mark.parametrize("guide_share", [0.0, 0.75])
def test_several_modalities_are_averaged_where_their_heads_are_and_each_guides_the_average(model, batch, guide_share):
    first, second = (batch["image"][:, index].numpy() for index in (0, 1))
    second[0, :5] = 0.0  # A smaller head.
    second[1] = 0.0  # The second row has the first modality alone.
    label = batch["label"][:, 0]
    together = translate(model, np.concatenate([first, second], axis=-1), [2, 2], label, guide_share=guide_share)
    alone = [translate(model, given, [2, 2], label) for given in (first, second)]
    heads = [(given > 0).astype(np.float32) for given in (first, second)]

    def mean(slices, weights):
        total = sum(image * weight for image, weight in zip(slices, weights, strict=True))
        return np.divide(total, sum(weights), out=np.zeros_like(total), where=sum(weights) > 0)

    expected = mean(alone, heads)
    if guide_share:
        drawn, lesion = tf.constant(expected), tf.cast(label > 0, tf.float32)
        border = slice_sizes.relative_size((fakes.SIZE, fakes.SIZE))  # A pixel of slices of the measured size.
        fading = 1.0 - tf.minimum(2.0 * structure_maps.gaussian_blur(lesion, border), 1.0)
        masks = [tf.constant(head) * (1.0 - lesion) for head in heads]
        guides = [tf.constant(given) for given in (first, second)]
        filtered = [guided_filter.guided_filter(drawn, *pair, 2) for pair in zip(guides, masks, strict=True)]
        share = (guide_share * fading).numpy()
        weights = [head * weight.numpy() for head, (_, weight) in zip(heads, filtered, strict=True)]
        expected = mean([(1 - share) * expected + share * np.clip(image, 0, 1) for image, _ in filtered], weights)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert np.abs(together - alone[0])[0].max() > 1e-3
    if not guide_share:
        np.testing.assert_allclose(together[1], alone[0][1], atol=1e-6)


@pytest.mark.parametrize(
    ("regions", "labels"),
    [
        # Nested: where the class is not sure, it is the one outside the inner region.
        ({"outer": (1, 2), "inner": (2,)}, [2, 1, 0, 0]),
        ({"one": (1,), "other": (2,)}, [2, 2, 0, 0]),
    ],
)
def test_a_lesion_is_drawn_where_it_is_sure_and_the_rest_is_uncertain(regions, labels):
    data = DataConfig(labels=("background", "a", "b"), regions=regions)
    probabilities = np.array([[0.05, 0.0, 0.95], [0.05, 0.4, 0.55], [0.3, 0.7, 0.0], [0.0, 0.0, 0.0]])
    label = translation.sure_lesion(probabilities, data, sure=0.9)
    np.testing.assert_array_equal(label, labels)
    assert translation.sure_lesion(probabilities, data, sure=0.5)[2] == 1
    uncertainty = translation.uncertainty(probabilities, label)
    np.testing.assert_allclose(uncertainty, [0.05, 0.05, 0.7, 0.0], atol=1e-7)
    assert (label.dtype, uncertainty.dtype) == (np.uint8, np.float32)


def test_translation_by_the_map_alone_is_synthesis_from_the_slices_own_map(model, batch):
    images, label = batch["image"][:, 0], batch["label"][:, 0]
    own_label, edges, background = fusion.own_map(images, label, CONFIG.structure_map)
    mean = tf.zeros([2, 3, contrast.size(5)])
    made = model.synthesize(edges, background, own_label, tf.fill(edges.shape, 0.5), mean)
    expected = made[:, 1] * tf.cast(images > 0, tf.float32)
    np.testing.assert_allclose(translate(model, images, [1, 1], label, map_share=1.0), expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_guided_translations_take_their_edges_from_the_slice_but_for_its_lesions(model, batch, share):
    images, target = batch["image"][:, 0], [1, 2]
    label = np.zeros(images.shape, np.uint8)
    label[:, 5:10, 5:10] = 1
    before, after = (translate(model, images, target, tf.constant(label), share, guide) for guide in (0.0, 0.75))
    head, lesion = images.numpy() > 0, label > 0
    assert np.all(after[~head] == 0)
    inside, far = np.zeros_like(lesion), np.ones_like(lesion)
    inside[:, 6:9, 6:9] = True
    far[:, 2:13, 2:13] = False
    np.testing.assert_allclose(after[inside], before[inside], atol=1e-6)
    # Slices of 16 pixels have windows of radius 2.
    expected, _ = guided_filter.guided_filter(tf.constant(before), images, tf.constant(head & ~lesion, tf.float32), 2)
    expected = 0.25 * before + 0.75 * np.clip(expected.numpy(), 0, 1)
    np.testing.assert_allclose(after[head & far], expected[head & far], atol=1e-6)
    assert np.abs(after - before)[head & far].max() > 1e-3
    if not share:
        assert np.all(np.isfinite(translate(model, images, target, map_share=share, guide_share=0.75)))


def test_windows_of_the_guided_filter_follow_the_size_of_slices():
    assert [translation.guide_radius(size) for size in ((64, 64), (192, 240), (4, 4))] == [8, 24, 1]


def test_translation_without_maps_needs_no_label_and_with_them_asks_for_it(model, batch):
    images, target, label = batch["image"][:, 0], [1, 2], batch["label"][:, 0]
    plain = translate(model, images, target, map_share=0.0)
    np.testing.assert_array_equal(plain, translate(model, images, target, label, map_share=0.0))
    with pytest.raises(ValueError, match="need a lesion label"):
        translate(model, images, target)


def test_a_stage_that_knows_no_contrast_translates(batch):
    plain = fakes.modality_gan(fakes.tiny_config(3, 5))
    made = translate(plain, batch["image"][:, 0], [1, 2], batch["label"][:, 0])
    assert np.all(np.isfinite(made)) and made.max() > 0


@pytest.mark.parametrize("name", ["map_share", "guide_share"])
def test_a_share_above_1_is_refused(name):
    with pytest.raises(UserError, match=rf"translation\.{name} \(1\.5\) must lie between 0 and 1"):
        TranslationConfig(**{name: 1.5})
