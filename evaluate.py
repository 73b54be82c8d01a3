"""Scores trained stages on prepared data sets.

Segmenters on the test patients of a data set (any prepared data set fits):

    python evaluate.py --experiment=segmentation --workdir=runs/a --test_data=data/brats

The same, and on unfiltered synthetic slices: is the lesion where the label says (the paper's Table 1)?

    python evaluate.py --experiment=lesion_check --workdir=runs/a --test_data=data/brats --synthetic_data=data/synthetic

Records (CSV and JSON, one value a row) and a Markdown table go to <workdir>/evaluation/<experiment>/.
"""

import os

from absl import app, flags

from mmsynth_tf import commands

_EXPERIMENT = flags.DEFINE_enum("experiment", None, ["segmentation", "lesion_check"], "What to measure.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Work directory with the trained segmentation stage.", required=True)
_TEST_DATA = flags.DEFINE_string("test_data", None, "Prepared data set of real patients.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split of --test_data to score.")
_SYNTHETIC_DATA = flags.DEFINE_list(
    "synthetic_data", [], "lesion_check: synthetic data sets built with --config.generation.dice_threshold=0."
)


def main(argv: list[str]) -> None:
    commands.refuse_arguments(argv)
    if bool(_SYNTHETIC_DATA.value) != (_EXPERIMENT.value == "lesion_check"):
        raise app.UsageError("--synthetic_data goes with --experiment=lesion_check, and that needs it.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf import experiments

    table = experiments.run_segmentation(
        _EXPERIMENT.value, _WORKDIR.value, _TEST_DATA.value, _SPLIT.value, _SYNTHETIC_DATA.value
    )
    print(table.markdown())


if __name__ == "__main__":
    commands.run(main)
