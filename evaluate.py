"""Runs experiments on trained stages and prepared data sets.

Gain of segmenters by training set: one segmenter of all modalities, five folds over all patients. It needs no trained
stage:

    python evaluate.py --experiment=segmentation_gain --workdir=runs/a --test_data=data/brats --seeds=0,1,2

The same against the number of patients: how many further patients are pasted or synthetic slices worth?

    python evaluate.py --experiment=curve --workdir=runs/a --test_data=data/brats --seeds=0,1,2 \\
        --synthetic_data=data/two,data/four

Dice of the trained segmenters on the test patients of a prepared data set:

    python evaluate.py --experiment=segmentation --workdir=runs/a --test_data=data/brats

Dice of segmenters on unfiltered synthetic and on real slices: does each lesion lie where its label says (Table 1)?

    python evaluate.py --experiment=lesion_check --workdir=runs/a --test_data=data/brats \\
        --synthetic_data=data/unfiltered

The paper's segmenters, trained on mixtures of real, synthetic and augmented slices (Table 2, or some of its rows).
Without --protocol=paper, experiments train joint segmenters:

    python evaluate.py --experiment=usability --protocol=paper --workdir=runs/a --test_data=data/brats \\
        --synthetic_data=data/synthetic --rows=real_1,synthetic_1,real_1_synthetic_0.5 --seeds=0,1

Similarity of synthetic and real slices, search for copies of training slices, heads along their slices, and quality of
translation:

    python evaluate.py --experiment=fidelity --workdir=runs/a --test_data=data/brats --synthetic_data=data/synthetic
    python evaluate.py --experiment=memorisation --workdir=runs/a --test_data=data/brats --synthetic_data=data/synthetic
    python evaluate.py --experiment=heads --workdir=runs/a --test_data=data/brats
    python evaluate.py --experiment=translation --workdir=runs/a --test_data=data/brats

All experiments except segmentation_gain and curve take --train_data if the test patients are in a separate data set,
built with --config.data.test_fraction=1 --config.data.validation_fraction=0:

    python evaluate.py --experiment=usability --protocol=paper --workdir=runs/a --train_data=data/brats \\
        --test_data=data/others --synthetic_data=data/synthetic

A page with all measurements of a work directory:

    python evaluate.py --experiment=report --workdir=runs/a --test_data=data/brats --synthetic_data=data/synthetic

Records (CSV and JSON, one value a row) and tables (Markdown, CSV, LaTeX) go to <workdir>/evaluation/<experiment>/.
Finished measurements are kept. Run the same command again to continue an experiment that was stopped.
"""

import contextlib
import pathlib

from absl import app, flags

from mmsynth_tf import constants, prepared, program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.experiments.catalogue import RUNNABLE

_EXPERIMENT = flags.DEFINE_enum("experiment", None, sorted(RUNNABLE), "Experiment to run.", required=True)
_WORKDIR = path_flags.define_path("workdir", None, "Work directory with the trained stages.", required=True)
_TEST_DATA = path_flags.define_path("test_data", None, "Prepared data set of real patients.", required=True)
_TRAIN_DATA = path_flags.define_path(
    "train_data",
    None,
    "Prepared data set that the stages were trained on; --test_data if not given. Experiments train on its training "
    "split and compare with it.",
)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split of --test_data to score.")
_SYNTHETIC_DATA = path_flags.define_paths(
    "synthetic_data",
    [],
    "Prepared synthetic data sets; for lesion_check, build them with --config.generation.dice_threshold=0.",
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol",
    constants.JOINT,
    [constants.JOINT, constants.PAPER],
    "Segmenters that experiments train: joint ones, or those of the paper's tables, one for each modality.",
)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds; experiments that train networks train once per seed.")
_ROWS = flags.DEFINE_list("rows", [], "Rows to measure; all if not given. An unknown name prints the list of rows.")
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "Training steps of each network that an experiment trains. Default: 3000 in segmentation_gain and curve, those of "
    "the synthesis stage in translation, otherwise those of the segmentation stage.",
    lower_bound=1,
)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    experiment = RUNNABLE[_EXPERIMENT.value]
    if experiment.synthetic is not None and bool(_SYNTHETIC_DATA.value) != experiment.synthetic:
        verb = "needs" if experiment.synthetic else "does not take"
        raise app.UsageError(f"--experiment={_EXPERIMENT.value} {verb} --synthetic_data.")
    if experiment.only and experiment.only != _PROTOCOL.value:
        raise app.UsageError(
            f"--experiment={_EXPERIMENT.value} follows protocol {experiment.only}: give --protocol={experiment.only}, "
            f"or --experiment={experiment.instead}, which follows protocol {_PROTOCOL.value}."
        )
    real, synthetic = prepared.open_prepared(_TEST_DATA.value), map(prepared.open_prepared, _SYNTHETIC_DATA.value)
    train_data = prepared.open_prepared(_TRAIN_DATA.value) if _TRAIN_DATA.value else None
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.errors import WorkDirError
    from mmsynth_tf.experiments import leaks, study
    from mmsynth_tf.training import run_folder

    request = study.Request(
        workdir=pathlib.Path(_WORKDIR.value),
        real=real,
        synthetic=tuple(synthetic),
        split=_SPLIT.value,
        seeds=_seeds(),
        rows=tuple(_ROWS.value),
        steps=_STEPS.value,
        protocol=_PROTOCOL.value,
        trained_on=train_data,
    )
    # Experiments that need the segmentation stage report its absence themselves.
    with contextlib.suppress(WorkDirError):
        trained_on = run_folder.trained_on(constants.SEGMENTATION, request.workdir)
        leaks.warn_of_other_training_patients(trained_on, request.trained_on or request.real)
    for name, table in experiment.load().run(request).items():
        print(f"{name}: {table.caption}\n{table.markdown()}")


def _seeds() -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in _SEEDS.value)
    except ValueError as error:
        raise app.UsageError(f"--seeds takes whole numbers, such as 0,1,2 ({error}).") from error


if __name__ == "__main__":
    program.run(main)
