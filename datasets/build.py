"""Builds a prepared data set: the folder that `train.py` and `evaluate.py` take as --data_dir.

From cases in any BraTS release, the Medical Segmentation Decathlon (Task01), or files named `<case>_<modality>.nii.gz`:

    python datasets/build.py --source=brats --input=BraTS2018/ --output=data/brats --preset=default

Check the cases first, without writing anything (exit status 1 if a case cannot be used):

    python datasets/build.py --source=brats --input=BraTS2018/ --check

From made-up patients, without any download:

    python datasets/build.py --source=phantom --num_cases=20 --output=data/phantom --preset=demo

From trained generators:

    python datasets/build.py --source=synthetic --workdir=runs/a --labels_from=data/brats --output=data/fake
"""

import os
import sys
from pathlib import Path

if not __package__:  # Run as a file: what is imported lies beside this folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from absl import flags

from mmsynth_tf import commands, constants, flags_config

_BRATS, _PHANTOM, _SYNTHETIC = "brats", "phantom", "synthetic"

_SOURCE = flags.DEFINE_enum(
    "source", None, [_BRATS, _PHANTOM, _SYNTHETIC], "Where the slices come from.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the prepared data set; must not exist yet.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
_INPUT = flags.DEFINE_string("input", None, "brats: folder that holds the cases, at any depth.")
_RELEASE = flags.DEFINE_string(
    "release",
    None,
    "brats: brats2015, brats2017-2021, brats2023, decathlon or custom; found from file names if not given.",
)
_ALLOW_INCOMPLETE = flags.DEFINE_bool("allow_incomplete", False, "brats: use cases that lack modalities or the label.")
_CHECK = flags.DEFINE_bool("check", False, "brats: only read all cases and print a table of all problems.")
_NUM_CASES = flags.DEFINE_integer("num_cases", 20, "phantom: number of patients.", lower_bound=1)
_CASES_DIR = flags.DEFINE_string("cases_dir", None, "phantom: folder for the NIfTI files; <output>/cases if not given.")
_WORKDIR = flags.DEFINE_string("workdir", None, "synthetic: work directory of the trained stages.")
_LABELS_FROM = flags.DEFINE_string("labels_from", None, "synthetic: prepared data set whose labels are used.")
_COUNT = flags.DEFINE_integer("count", 1000, "synthetic: number of slices to make.", lower_bound=1)

flags_config.define_config_flags()


def main(argv: list[str]) -> None:
    commands.refuse_arguments(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _CHECK.value:
        sys.exit(_check())
    from mmsynth_tf.records import new_folder

    builds = {_BRATS: _build_brats, _PHANTOM: _build_phantom, _SYNTHETIC: _build_synthetic}
    output = Path(_required(_OUTPUT))
    with new_folder(output, constants.DATA_SET_RECORD, _OVERWRITE.value) as folder:
        builds[_SOURCE.value](folder)
    print(f"Prepared data set: {output}")


def _check() -> int:
    """Prints the table of problems; returns the exit status."""
    if _SOURCE.value != _BRATS:
        raise commands.UserError(f"--check reads case files; it has no meaning with --source={_SOURCE.value}.")
    from datasets import check
    from mmsynth_tf.releases import find_cases

    data = flags_config.config_from_flags().data
    cases = find_cases(_required(_INPUT), data.modalities, _RELEASE.value)
    problems = check.check_cases(cases, data, _ALLOW_INCOMPLETE.value)
    if problems:
        print(check.problem_table(problems))
    errors = [problem for problem in problems if not problem.is_warning]
    print(f"{len(cases)} cases, {len(errors)} errors, {len(problems) - len(errors)} warnings.")
    return 1 if errors else 0


def _build_brats(folder: Path) -> None:
    from datasets import brats
    from mmsynth_tf.releases import find_cases

    data = flags_config.config_from_flags().data
    cases = find_cases(_required(_INPUT), data.modalities, _RELEASE.value)
    releases = "+".join(sorted({case.release.name for case in cases}))
    print(f"{len(cases)} cases, release {releases}")
    brats.build(cases, data, folder, _ALLOW_INCOMPLETE.value, releases)


def _build_phantom(folder: Path) -> None:
    from datasets import brats, phantom
    from mmsynth_tf.releases import find_cases

    config = flags_config.config_from_flags()
    cases_dir = Path(_CASES_DIR.value) if _CASES_DIR.value else folder / "cases"
    phantom.write_cases(cases_dir, _NUM_CASES.value, seed=config.runtime.seed)
    cases = find_cases(cases_dir, config.data.modalities)
    brats.build(cases, config.data, folder, allow_incomplete=False, release=_PHANTOM)


def _build_synthetic(folder: Path) -> None:
    from datasets import synthetic
    from mmsynth_tf import synthesis

    generation = synthesis.Generation(
        workdir=_required(_WORKDIR),
        labels_from=_required(_LABELS_FROM),
        count=_COUNT.value,
        config=flags_config.config_from_flags(),
    )
    synthetic.build(generation, folder)


def _required(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise commands.UserError(f"--source={_SOURCE.value} needs --{flag.name}.")
    return flag.value


if __name__ == "__main__":
    commands.run(main)
