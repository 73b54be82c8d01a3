"""Labels in other heads: which fit."""

import dataclasses

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs
from mmsynth_tf.generation import heads
from mmsynth_tf.generation.label_placing import LabelPlacing
from mmsynth_tf.generation.label_pool import LabelPool

SIZE, DRAWS = 32, 40
STILL = dataclasses.replace(configs.AugmentationConfig().times(0.0), flip=False)


def head() -> np.ndarray:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[4:28, 4:28] = True
    return inside


def lesion(outside: int, value: int = 1) -> np.ndarray:
    """A lesion of 100 pixels, some of which lie beside the head's left border."""
    label = np.zeros((SIZE, SIZE), np.uint8)
    label[10:20, 4:14] = value
    label[10 : 10 + outside, 13], label[10 : 10 + outside, 3] = 0, value
    return label


def place(*labels: np.ndarray) -> dict[str, np.ndarray]:
    frames = np.stack([heads.frame(head())] * len(labels))
    sources = [f"a:{number}" for number in range(len(labels))]
    pool = LabelPool(tf.constant(np.stack(labels)[..., None]), sources, np.full(len(labels), 0.5, np.float32), frames)
    backgrounds = np.broadcast_to(~head()[None, ..., None], (DRAWS, SIZE, SIZE, 1)).astype(np.uint8)
    placing = LabelPlacing(pool, (SIZE, SIZE), STILL, seed=0)
    return placing.place(np.arange(DRAWS), np.full(DRAWS, 0.5, np.float32), backgrounds)


def test_a_label_fits_when_no_lesion_pixel_is_outside_the_head():
    placed = place(lesion(0))
    assert placed["found"].all()
    np.testing.assert_array_equal(placed["label"][0, ..., 0], lesion(0))
    assert not place(lesion(1))["found"].any()


def test_the_first_label_that_fits_is_taken():
    placed = place(lesion(1, value=2), lesion(0, value=3))
    assert placed["found"].all() and set(placed["label_choice"]) == {1}
    assert np.all(placed["label"][placed["label"] > 0] == 3)
    both = place(lesion(0, value=2), lesion(0, value=3))
    assert set(both["label_choice"]) == {0, 1}
    np.testing.assert_array_equal(both["label"].max(axis=(1, 2, 3)), both["label_choice"] + 2)


def test_a_lesion_that_does_not_fit_is_replaced_by_another_lesion():
    placed = place(lesion(1), np.zeros((SIZE, SIZE), np.uint8), lesion(0, value=3))
    assert placed["found"].all()
    # A third of the first labels has no lesion; the others are replaced, or are the one that fits.
    shown = placed["label"].any(axis=(1, 2, 3))
    assert 0.5 < shown.mean() < 0.9 and set(placed["label_choice"]) == {1, 2}
    never = place(lesion(1), np.zeros((SIZE, SIZE), np.uint8))
    assert never["found"].all() and not never["label"].any()
