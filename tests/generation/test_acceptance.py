"""Which samples of a block are kept, and when a build gives up."""

import collections

import numpy as np
import pytest

from mmsynth_tf import configs
from mmsynth_tf.generation import sampling


def test_the_lesion_filter_leaves_the_share_of_slices_with_a_lesion():
    lesion = np.array([True, False, True, False, False, True, False, True, False, False])
    agreed = np.array([True, True, False, True, False, True, True, False, False, True])
    # Of four lesions two are found, so of six slices without one three are kept, although only four were agreed on.
    kept = [True, True, False, True, False, True, True, False, False, False]
    assert sampling.keep_lesion_share(agreed, lesion).tolist() == kept
    # Without any lesion nothing is known about those that the filter drops.
    assert sampling.keep_lesion_share(agreed[~lesion], lesion[~lesion]).tolist() == agreed[~lesion].tolist()
    assert sampling.keep_lesion_share(agreed[:0], lesion[:0]).tolist() == []


def test_slices_without_a_lesion_are_dropped_with_those_whose_lesion_is_not_found(monkeypatch):
    """Odd draws have a lesion, which is found in every other one; the segmenters agree with all even draws."""

    def example(self, draw):
        return {"seed": draw, "label": np.full((2, 2, 1), draw % 2), "dice": np.array([draw % 4 != 1])}

    made = object.__new__(sampling.Generation)
    made._segmenter, made.settings = object(), configs.GenerationConfig(dice_threshold=0.5)
    monkeypatch.setattr(sampling.Generation, "_batches", lambda self, number, counts: [[0, 1, 2], [3, 4, 5, 6, 7]])
    monkeypatch.setattr(sampling.Generation, "_complete", lambda self, rows: rows)
    monkeypatch.setattr(sampling.Generation, "_example", example)
    counts = collections.Counter()
    assert [sample["seed"] for sample in made.block(0, counts)] == [0, 2, 3, 7]
    assert counts == {"synthesised": 8, "agreed": 6, "kept": 4}
    rates = sampling.acceptance(counts)
    assert (rates["passed_lesion_filter"], rates["lesion_acceptance"], rates["kept"]) == (6, 0.75, 4)


@pytest.mark.parametrize("kept, gives_up", [(0, True), (10, True), (11, False)])
def test_giving_up_says_what_the_filters_let_through(kept, gives_up):
    counts = {"drawn": 500, "closed": 40, "labelled": 40, "synthesised": 40, "kept": kept}
    settings = configs.GenerationConfig(batch_size=4)
    if gives_up:
        with pytest.raises(sampling.GenerationError, match=r"Algorithm 3 accepts 8\.0% of the maps"):
            sampling.require_progress(counts, settings)
    else:
        sampling.require_progress(counts, settings)
