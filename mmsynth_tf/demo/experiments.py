"""All experiments at a small scale on simulated patients, ending with a report (``make experiments``).

Phantom cases -> prepared data -> all stages -> synthetic data sets with and
without the lesion filter -> every experiment -> one HTML page. Each step is a
documented command, and is printed before it runs. Finished steps are not
repeated, including those of `mmsynth_tf.demo` in the same folder.
"""

import os
import pathlib

from absl import flags

from mmsynth_tf import constants, program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.demo.steps import Steps, run
from mmsynth_tf.experiments import catalogue

_WORKDIR = path_flags.define_path("workdir", "experiments_output", "Folder for all outputs.")
_PRESET = flags.DEFINE_string("preset", "demo", "Preset of all steps.")
_NUM_CASES = flags.DEFINE_integer("num_cases", 14, "Number of phantom patients.")
_ROWS = flags.DEFINE_list(
    "rows",
    [
        "real_1",
        "real_0.5",
        "synthetic_1",
        "real_0.1_synthetic_1",
        "real_1_synthetic_0.5",
        "real_1_augmented_0.5",
    ],
    "Rows of the usability experiment.",
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1"], "Seeds of the usability experiment.")
_STEPS = flags.DEFINE_integer(
    "steps",
    80,
    "Training steps of each segmenter in usability; translation: as many; segmentation_gain and curve: half of them.",
)
_DESIGNS = flags.DEFINE_multi_enum(
    "designs",
    [constants.SEGMENTER_PER_MODALITY],
    constants.LESION_DESIGNS,
    "Lesion designs in the lesion check; each one but the preset's trains two stages again.",
)

_FILTERED, _UNFILTERED = "filtered", "unfiltered"


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    folder, steps = pathlib.Path(_WORKDIR.value), Steps(_PRESET.value)
    real, models = steps.real_and_models(folder, _NUM_CASES.value)
    count = _training_slices(real)
    filtered = folder / _FILTERED
    steps.synthetic(filtered, models, real, count=count)
    unfiltered = []
    for design in _DESIGNS.value:
        unfiltered.append(folder / f"{_UNFILTERED}_{design}")
        workdir = _models_of(design, steps, real, models)
        steps.synthetic(unfiltered[-1], workdir, real, count=count, **{"config.generation.dice_threshold": 0})

    every_set = ",".join(map(str, [filtered, *unfiltered]))
    rows, seeds = ",".join(_ROWS.value), ",".join(_SEEDS.value)
    # Both share their units of all training patients.
    shared = {"rows": "real_strong,pasted", "steps": max(1, _STEPS.value // 2)}
    special = {
        "segmentation_gain": shared,
        "curve": shared,
        "lesion_check": {"synthetic_data": ",".join(map(str, unfiltered))},
        "usability": {"protocol": constants.PAPER, "rows": rows, "seeds": seeds, "steps": _STEPS.value},
        "fidelity": {"synthetic_data": every_set},
        # The reference is trained for fewer steps than the stage, which would take a third of all the time.
        "translation": {"steps": _STEPS.value},
        catalogue.REPORT: {"synthetic_data": every_set},
    }
    for name, experiment in catalogue.RUNNABLE.items():
        arguments = {"synthetic_data": filtered} if experiment.synthetic else {}
        run("evaluate.py", experiment=name, workdir=models, test_data=real, **(arguments | special.get(name, {})))


def _training_slices(real: pathlib.Path) -> int:
    """Number of slices of the training patients: fraction 1 of synthetic slices in the usability experiment."""
    from mmsynth_tf import prepared

    data = prepared.open_prepared(real)
    slices = range(*data.config.slices)
    return len(data.cases["train"]) * len(slices)


def _models_of(design: str, steps: Steps, real: pathlib.Path, models: pathlib.Path) -> pathlib.Path:
    """Makes a work directory whose synthesis stage has lesion processors of this design."""
    if design == constants.SEGMENTER_PER_MODALITY:
        return models
    workdir = models.with_name(f"{models.name}_{design}")
    workdir.mkdir(exist_ok=True)
    shared = workdir / constants.STRUCTURE
    if not shared.is_symlink():
        # The structure stage has no lesion processors.
        shared.symlink_to(os.path.relpath(models / constants.STRUCTURE, workdir), target_is_directory=True)
    for stage in (constants.SEGMENTATION, constants.SYNTHESIS):
        steps.train(stage, workdir, real, **{"config.segmentation.design": design})
    return workdir


if __name__ == "__main__":
    program.run(main)
