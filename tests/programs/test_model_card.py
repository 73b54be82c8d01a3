"""The licence of exported weights follows the data that they were trained on."""

import pytest

from mmsynth_tf.export import model_card


@pytest.mark.parametrize(
    ("releases", "words"),
    [
        (["brats2017-2021"], "registered users"),
        (["custom"], "ask its owner"),
        # One public licence does not cover the other data.
        (["brats2017-2021", "decathlon"], "registered users"),
    ],
)
def test_weights_of_other_data_get_no_public_licence(releases, words):
    licence = model_card.licence(releases)
    assert words in licence and "The weights are licensed" not in licence
