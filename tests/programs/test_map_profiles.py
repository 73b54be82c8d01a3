"""The study of the edges of structure maps."""

import numpy as np
import pytest

from tools.studies import map_profiles


def heads_with_an_outline(width: int) -> map_profiles.Maps:
    """Two square heads of 16 pixels with an outline of `width` pixels, and an edge across one of them."""
    heads = np.zeros((2, 20, 20), bool)
    heads[:, 2:18, 2:18] = True
    edges = heads.copy()
    edges[:, 2 + width : 18 - width, 2 + width : 18 - width] = False
    edges[1, 10, 2:18] = True
    return edges, heads


def test_the_profile_counts_edges_by_their_distance_from_the_border():
    found = map_profiles.profile(*heads_with_an_outline(2))
    assert [found["rim_1"], found["rim_2"]] == [1.0, 1.0]
    # Of the third ring, 44 pixels long, the edge across one of the two heads meets two pixels.
    assert found["rim_3"] == pytest.approx(2 / (2 * 44), abs=1e-4)
    assert found["inside"] == pytest.approx(6 / (2 * 36), abs=1e-4)
    assert (found["pieces"], found["head"]) == (1.5, pytest.approx(0.64))


def test_patterns_of_equal_maps_do_not_diverge_and_thicker_outlines_do():
    thin, thick = (map_profiles.patterns(*heads_with_an_outline(width), 1) for width in (1, 3))
    assert thin.sum() == 2 * 16 * 16 + 512
    assert map_profiles.divergence(thin, thin) == 0.0
    assert 0.1 < map_profiles.divergence(thin, thick) < 1.0
