"""Experiments on trained stages and prepared data sets.

Segmenters on the test patients of a data set (any prepared data set fits):

    python evaluate.py --experiment=segmentation --workdir=runs/a --test_data=data/brats

The same, and on unfiltered synthetic slices: is the lesion where the label says (the paper's Table 1)?

    python evaluate.py --experiment=lesion_check --workdir=runs/a --test_data=data/brats --synthetic_data=data/raw

Records (CSV and JSON, one value a row) and tables (Markdown, CSV, LaTeX) go to <workdir>/evaluation/<experiment>/.
What is measured is kept: an experiment that was stopped goes on when the same command is given again.
"""

import importlib
import os
import pathlib

from absl import app, flags

from mmsynth_tf import commands

# Experiment to the function that runs it, and whether it needs synthetic data.
_EXPERIMENTS = {
    "segmentation": ("segmentation:run", False),
    "lesion_check": ("segmentation:run_lesion_check", True),
}

_EXPERIMENT = flags.DEFINE_enum("experiment", None, sorted(_EXPERIMENTS), "What to measure.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Work directory with the trained stages.", required=True)
_TEST_DATA = flags.DEFINE_string("test_data", None, "Prepared data set of real patients.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split of --test_data to score.")
_SYNTHETIC_DATA = flags.DEFINE_list(
    "synthetic_data",
    [],
    "Prepared synthetic data sets; lesion_check: unfiltered ones (--config.generation.dice_threshold=0).",
)


def main(argv: list[str]) -> None:
    commands.refuse_arguments(argv)
    target, needs_synthetic = _EXPERIMENTS[_EXPERIMENT.value]
    if bool(_SYNTHETIC_DATA.value) != needs_synthetic:
        verb = "needs" if needs_synthetic else "does not take"
        raise app.UsageError(f"--experiment={_EXPERIMENT.value} {verb} --synthetic_data.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf import prepared
    from mmsynth_tf.experiments import study

    request = study.Request(
        workdir=pathlib.Path(_WORKDIR.value),
        real=prepared.open_prepared(_TEST_DATA.value),
        synthetic=tuple(prepared.open_prepared(path) for path in _SYNTHETIC_DATA.value),
        split=_SPLIT.value,
    )
    module, function = target.split(":")
    run = getattr(importlib.import_module(f"mmsynth_tf.experiments.{module}"), function)
    for name, table in run(request).items():
        print(f"{name}: {table.caption}\n{table.markdown()}")


if __name__ == "__main__":
    commands.run(main)
