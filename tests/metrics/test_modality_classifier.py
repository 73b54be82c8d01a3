"""The classifier learns what tells modalities apart, from the slices that there are."""

import numpy as np
import tensorflow as tf

from mmsynth_tf.metrics import modality_classifier

SIZE = (16, 16)


def slices(rng, count, available=(True, True)):
    """Examples of two modalities, one dark and one bright."""
    image = rng.random((count, 2, *SIZE, 1)) * np.array([0.05, 1.0])[:, None, None, None]
    return {"image": image.astype(np.float16), "available": np.tile(available, (count, 1))}


def train(examples, steps):
    return modality_classifier.train(tf.data.Dataset.from_tensor_slices(examples), SIZE, 2, steps, seed=0)


def test_it_tells_dark_from_bright(rng):
    model = train(slices(rng, 16), steps=60)
    found = modality_classifier.classify(model, slices(rng, 5)["image"].astype(np.float32))
    np.testing.assert_array_equal(found, [[0, 1]] * 5)


def test_slices_that_a_case_lacks_are_not_trained_on(rng):
    model = train(slices(rng, 16, available=(False, True)), steps=40)
    found = modality_classifier.classify(model, slices(rng, 5)["image"].astype(np.float32))
    np.testing.assert_array_equal(found, [[1, 1]] * 5)
