"""The three designs of lesion processor: what they share, and that all are used alike."""

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from tests.fakes import fakes

# Encoders and decoders for three modalities.
PARTS = {"1seg": (1, 1), "1ecl_4dcl": (1, 3), "4seg": (3, 3)}


def build(design: str):
    return fakes.lesion_processor(fakes.tiny_config(3), design)


@pytest.fixture
def images(rng):
    return tf.constant(rng.uniform(size=(2, 3, fakes.SIZE, fakes.SIZE, 1)), tf.float32)


def test_every_design_is_covered():
    assert set(PARTS) == set(constants.LESION_DESIGNS)


@pytest.mark.parametrize("design", PARTS)
def test_designs_share_what_their_name_says(design):
    processor = build(design)
    encoders, decoders = PARTS[design]
    assert (len(processor.encoders), len(processor.decoders)) == (encoders, decoders)
    assert len(processor.networks) == encoders + decoders
    count = sum(len(network.trainable_variables) for network in processor.networks)
    assert len(processor.trainable_variables) == count > 0


@pytest.mark.parametrize("design", PARTS)
def test_all_modalities_together_give_what_each_gives_alone(design, images):
    processor = build(design)
    together = processor(images)
    assert together.shape == (2, 3, fakes.SIZE, fakes.SIZE, 5)
    np.testing.assert_allclose(tf.reduce_sum(together, axis=-1), 1.0, atol=1e-5)
    for i in range(3):
        np.testing.assert_allclose(processor.segment(images[:, i], i), together[:, i], atol=1e-5)


@pytest.mark.parametrize("design", PARTS)
def test_only_unshared_parts_depend_on_the_modality(design, images):
    processor = build(design)
    same = np.allclose(processor.segment(images[:, 0], 0), processor.segment(images[:, 0], 1), atol=1e-4)
    assert same == (design == constants.ONE_SEGMENTER)


def test_an_unknown_design_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'5seg'.*1seg, 1ecl_4dcl, 4seg"):
        build("5seg")
