"""Segmenters: loss terms by hand, training of each lesion design, labels out."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import literal_method
from mmsynth_tf import constants
from mmsynth_tf.configs.segmentation import SEGMENTATION_FORMULATIONS, SegmentationLossWeights
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from tests.fakes import fakes, training_checks

ALL_TERMS = SegmentationLossWeights(squared_error=1.0, dice=1.0, cross_entropy=1.0)


@pytest.fixture(scope="module")
def all_terms():
    """A formulation with all terms, where each class weighs differently."""
    changes = {"weights": ALL_TERMS, "class_weights": (1.0, 2.0, 3.0, 4.0, 5.0)}
    with literal_method.formulation(SEGMENTATION_FORMULATIONS, "all terms", **changes) as name:
        yield name


def build(design=constants.SEGMENTER_PER_MODALITY, num_classes=5, **settings) -> Segmenter:
    return fakes.segmenter(fakes.tiny_config(3, num_classes, segmentation__design=design, **settings))


def make_batch(seed=0, batch_size=2, num_classes=5):
    return fakes.unregistered_slices(np.random.default_rng(seed), fakes.tiny_config(3, num_classes), batch_size)


def networks(model: Segmenter) -> dict[str, list[tf.keras.Model]]:
    return {"lesion_processor": list(model.lesion_processor.networks)}


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("design", constants.LESION_DESIGNS)
def test_every_term_equals_the_literal_formula(all_terms, design, num_classes):
    model = build(design, num_classes, segmentation__formulation=all_terms)
    batch = make_batch(num_classes=num_classes)
    actual = model.loss_terms(batch, model.forward(batch, training=False))
    training_checks.assert_terms_close(actual, literal_method.segmentation_terms(model, batch))


def test_each_term_alone_trains_the_lesion_processor(all_terms):
    prober = training_checks.StepProber(build(segmentation__formulation=all_terms), networks)
    batch = make_batch()
    for term in ("squared_error", "dice", "cross_entropy"):
        assert prober.moved_by([term], batch) == {"lesion_processor"}, term
    assert prober.moved_by([], batch) == set()


@pytest.mark.parametrize(
    ("formulation", "terms"), [("measured", {"dice", "cross_entropy"}), ("paper", {"squared_error"})]
)
@pytest.mark.parametrize("design", constants.LESION_DESIGNS)
def test_every_formulation_trains_every_variable_on_its_own_terms(design, formulation, terms):
    model = build(design, segmentation__formulation=formulation)
    assert set(model.terms) == terms
    training_checks.assert_no_idle_variable(model, make_batch())


def test_segmenting_gives_the_likeliest_class():
    model, batch = build(), make_batch()
    labels = model.segment(batch["image"])
    assert labels.dtype == tf.uint8 and labels.shape == (2, 3, fakes.SIZE, fakes.SIZE, 1)
    for i in range(3):
        probabilities = model.lesion_processor.segment(batch["image"][:, i], i)
        np.testing.assert_array_equal(labels[:, i, ..., 0], np.argmax(probabilities, axis=-1))


def test_some_steps_lower_the_loss():
    model, batch = build(constants.ONE_SEGMENTER), make_batch()
    training_checks.compile_with_sgd(model, learning_rate=0.1)
    dataset = tf.data.Dataset.from_tensors(batch).repeat(20)
    before = model.evaluate(dataset.take(1), verbose=0, return_dict=True)
    model.fit(dataset, verbose=0)
    after = model.evaluate(dataset.take(1), verbose=0, return_dict=True)
    assert after["cross_entropy"] < before["cross_entropy"]
