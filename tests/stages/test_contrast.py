"""What describes a slice's contrast, and synthesis on condition of it."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf.stages.synthesis import contrast
from tests.fakes import fakes, training_checks


def slice_of(healthy, lesion, size=8):
    """Image, label and background of a head of value `healthy` with a lesion of class 2 and value `lesion`."""
    image, label, background = np.zeros([size, size, 1]), np.zeros([size, size, 1], int), np.ones([size, size, 1])
    image[1:-1, 1:-1], background[1:-1, 1:-1] = healthy, 0
    image[2:4, 2:4], label[2:4, 2:4] = lesion, 2
    return image, label, background


def measure(*slices, num_classes=3):
    image, label, background = (np.stack(parts) for parts in zip(*slices, strict=True))
    tensors = tf.constant(image, tf.float32), tf.constant(label), tf.constant(background, tf.float32)
    return [t.numpy() for t in contrast.describe(*tensors, num_classes)]


def test_means_and_deviation_of_the_head_and_of_each_lesion_class():
    values, present = measure(slice_of(0.5, 0.9), slice_of(0.25, 0.125))
    np.testing.assert_allclose(values, [[0.5, 1e-3, 0.0, 0.4], [0.25, 1e-3, 0.0, -0.125]], atol=1e-6)
    np.testing.assert_array_equal(present, [[1, 1, 0, 1], [1, 1, 0, 1]])


def test_the_deviation_leaves_lesion_and_background_out():
    image, label, background = slice_of(0.5, 0.9)
    image[1, 1], image[1, 2] = 0.3, 0.7
    values, _ = measure((image, label, background))
    healthy = image[(label == 0) & (background == 0)]
    np.testing.assert_allclose(values[0, :2], [healthy.mean(), healthy.std()], atol=1e-4)


def test_registered_slices_are_described_one_by_one():
    bright, dark = slice_of(0.5, 0.9), slice_of(0.25, 0.125)
    images = tf.constant(np.stack([bright[0], dark[0]])[None], tf.float32)
    label, background = (tf.constant(part[None]) for part in bright[1:])
    values, present = contrast.describe_registered(images, label, tf.cast(background, tf.float32), 3)
    expected = measure(bright, dark)
    np.testing.assert_allclose(values[0], expected[0], atol=1e-6)
    np.testing.assert_array_equal(present[0], expected[1])


def test_a_head_may_have_the_contrast_of_another_one():
    mixed = contrast.with_head_of(tf.constant([[1.0, 2.0, 3.0, 4.0]]), tf.constant([[5.0, 6.0, 7.0, 8.0]]))
    np.testing.assert_array_equal(mixed, [[5.0, 6.0, 3.0, 4.0]])


def test_an_empty_head_has_no_contrast():
    image, label, background = slice_of(0.0, 0.0)
    values, present = measure((image, 0 * label, np.ones_like(background)))
    assert not values.any() and not present.any()


def test_the_scale_learns_moments_from_what_is_present(rng):
    scale = contrast.ContrastScale(1, 2)
    values = rng.normal(0.5, 0.1, [4000, 1, 3]).astype(np.float32)
    present = (rng.uniform(size=values.shape) < [1.0, 1.0, 0.3]).astype(np.float32)
    for part, there in zip(np.split(values * present, 400), np.split(present, 400), strict=True):
        scale.observe(tf.constant(part), tf.constant(there))
    asked = tf.constant([[[0.0, 1.0, -1.0]]])
    np.testing.assert_allclose(scale.values(asked)[0, 0], [0.5, 0.6, 0.4], atol=0.02)
    restored = scale.normalise(scale.values(asked), tf.constant([[[1.0, 1.0, 0.0]]]))
    np.testing.assert_allclose(restored[0, 0], [0.0, 1.0, 0.0], atol=1e-5)
    far = scale.normalise(tf.constant([[[9.0, -9.0, 0.5]]]), tf.ones([1, 1, 3]))
    np.testing.assert_allclose(far[0, 0, :2], [3.0, -3.0])


def test_drawn_contrasts_repeat_and_stay_near_the_mean():
    drawn = contrast.draw([2000, 3], tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(drawn, contrast.draw([2000, 3], tf.constant([1, 2])))
    assert np.abs(drawn).max() <= 2.0 and 0.8 < drawn.std() < 1.0


CONDITIONED = fakes.tiny_config(
    synthesis__choices__contrast_condition=True,
    synthesis__choices__skips=True,
    synthesis__choices__weights={"contrast": 50.0},
)


@pytest.fixture
def batch(rng):
    return fakes.synthesis_batch(rng, CONDITIONED)


def test_every_variable_has_a_gradient(batch):
    training_checks.assert_no_idle_variable(fakes.modality_gan(CONDITIONED), batch)


def test_the_condition_changes_what_is_synthesised_of_its_modality_alone(batch):
    model = fakes.modality_gan(CONDITIONED)
    model.forward(batch, training=True)
    for variable in model.decoder.trainable_variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [0, 1]))
    other = batch["contrast"].numpy()
    other[0, 1] += 1.0
    before, after = (fakes.synthesize(model, {**batch, "contrast": c}) for c in (batch["contrast"], other))
    changed = np.abs(after - before).max(axis=(2, 3, 4)) > 1e-6
    np.testing.assert_array_equal(changed, [[False, True, False], [False, False, False]])


def test_a_translation_is_asked_for_the_contrast_of_its_target(batch):
    model = fakes.modality_gan(CONDITIONED)
    model.forward(batch, training=True)
    for variable in model.decoder.trainable_variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [0, 1]))
    # Modality 1 becomes darker, and what is asked of its made slices other; pairs without it know neither.
    darker = tf.constant([1.0, 0.5, 1.0])[:, None, None, None]
    other = {**batch, "image": batch["image"] * darker, "contrast": batch["contrast"] * darker[..., 0, 0]}
    before, after = (model.forward(b, training=False) for b in (batch, other))
    concerned = tf.reduce_any([batch["pair_source"] == 1, batch["pair_target"] == 1], axis=0)
    assert not np.all(concerned)
    for name in ("translated", "fake_translated"):
        changed = np.abs(after[name] - before[name]).max(axis=(2, 3, 4)) > 1e-6
        np.testing.assert_array_equal(changed, concerned, err_msg=name)


def test_the_contrast_term_is_zero_where_the_wish_is_met(batch):
    model = fakes.modality_gan(CONDITIONED)
    model.forward(batch, training=True)
    fake = batch["image"]
    n = CONDITIONED.data.num_modalities
    label, background = (tf.repeat(batch[name], n, axis=0) for name in ("fusion_label", "background"))
    flat = tf.reshape(fake, [-1, *fake.shape[2:]])
    values, _ = contrast.describe(flat, label, background, CONDITIONED.data.num_classes)
    mean, unit = model.contrast_scale.values(0.0), model.contrast_scale.values(1.0)
    met = (tf.reshape(values, [-1, n, values.shape[-1]]) - mean) / (unit - mean)
    is_met, is_not = (
        model.step_losses.of_full_rows({**batch, "contrast": asked}, {"fake": fake})["contrast"]()
        for asked in (met, met + 1.0)
    )
    assert is_met < 1e-9 < is_not


def test_training_moves_the_scale_and_evaluation_does_not(batch):
    model = fakes.modality_gan(CONDITIONED)
    model.forward(batch, training=False)
    assert not model.contrast_scale.presence.numpy().any()
    model.forward(batch, training=True)
    assert model.contrast_scale.presence.numpy()[:, 0].all()


def test_other_contrasts_keep_black_black_and_have_bounded_gradients(rng):
    images = tf.constant(np.concatenate([np.zeros((1, 4, 4, 1)), rng.uniform(size=(1, 4, 4, 1))]), tf.float32)
    draws = tf.reshape(tf.constant([0.0, 0.9]), [2, 1, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(images)
        varied = contrast.vary(images, draws, draws, 0.7)
    assert not np.any(varied[0])
    assert np.all(varied[1] <= 1.0)
    assert np.all(np.abs(tape.gradient(varied, images)) < 20)
    expected = images[1] ** np.exp(0.7 * 0.8) * (1 - 0.35 * 0.9)
    np.testing.assert_allclose(varied[1], np.where(images[1] < 0.01, varied[1], expected), rtol=1e-4)
    np.testing.assert_allclose(contrast.vary(images, draws, draws, 0.0), images, atol=1e-6)
