"""What the settings of all stages have in common: formulations, and what loss weights train."""

import dataclasses

import pytest

from mmsynth_tf.configs.stage import chosen, weights_by_group
from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Weights:
    fit: float = setting(2.0, "a", trains="generator")
    score: float = setting(1.0, "b", trains="discriminator")
    pull: float = setting(0.5, "c", trains="generator")


def test_weights_are_grouped_by_what_they_train():
    assert weights_by_group(Weights()) == {"generator": {"fit": 2.0, "pull": 0.5}, "discriminator": {"score": 1.0}}


def test_a_weight_of_0_leaves_its_term_out_but_not_its_group():
    assert weights_by_group(Weights(fit=0.0, score=0.0)) == {"generator": {"pull": 0.5}, "discriminator": {}}


def test_an_unknown_formulation_is_refused_with_the_known_ones():
    assert chosen({"measured": 1, "paper": 2}, "paper") == 2
    with pytest.raises(UserError, match="no formulation 'papers'; choose one of measured, paper"):
        chosen({"measured": 1, "paper": 2}, "papers")
