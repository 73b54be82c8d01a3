"""Builds a prepared data set: the folder that `train.py` and `evaluate.py` take as --data_dir.

From cases in any BraTS release, the Medical Segmentation Decathlon (Task01), or files named `<case>_<modality>.nii.gz`:

    python datasets/build.py --source=brats --input=BraTS2018/ --output=data/brats --preset=default

Check the cases first, without writing anything: one table of errors and warnings, exit status 1 if there are errors:

    python datasets/build.py --source=brats --input=BraTS2018/ --check

The patient of a case follows from its name where it is that of a BraTS case or of a few other public sets. For other
names, or to correct it, put a file patients.csv with the columns case and patient in --input; all cases of a patient
fall in one part of the split.

From made-up patients, without any download:

    python datasets/build.py --source=phantom --num_cases=20 --output=data/phantom --preset=demo

From trained generators:

    python datasets/build.py --source=synthetic --workdir=runs/a --labels_from=data/brats --output=data/fake

A build from generators that was stopped goes on when the same command is given again. To share one, give each of n
workers the command with --num_workers=n --worker=0, 1, …, and at the end, once, without: it makes what still is missing
and packs the data set, which is the same as one made by a single worker.

Both kinds of builds also run on Apache Beam: --beam_options='--runner=FlinkRunner --flink_master=host:8081'.
"""

import functools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from mmsynth_tf import constants, program
from mmsynth_tf.configs import flags as configs_flags
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError

if not __package__:  # Run as a file: what is imported lies beside this folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from mmsynth_tf.generation import sampling
    from mmsynth_tf.reading.releases import CaseFiles

_BRATS, _PHANTOM, _SYNTHETIC = "brats", "phantom", "synthetic"

_SOURCE = flags.DEFINE_enum(
    "source", None, [_BRATS, _PHANTOM, _SYNTHETIC], "Where the slices come from.", required=True
)
_OUTPUT = path_flags.define_path("output", None, "Folder of the prepared data set; must not exist yet.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
_INPUT = path_flags.define_path("input", None, "brats: folder that holds the cases, at any depth.")
_RELEASE = flags.DEFINE_string(
    "release",
    None,
    "brats: brats2015, brats2017-2021, brats2023, brats2024-glioma, brats-peds, brats-met, brats-men, brats-men-rt, "
    "brats-ssa, decathlon or custom; found from the names of files and cases if not given.",
)
_ALLOW_INCOMPLETE = flags.DEFINE_bool("allow_incomplete", False, "brats: use cases that lack modalities or the label.")
_CHECK = flags.DEFINE_bool("check", False, "brats: only read all cases and print a table of all problems.")
_NUM_CASES = flags.DEFINE_integer("num_cases", 20, "phantom: number of patients.", lower_bound=1)
_CASES_DIR = path_flags.define_path(
    "cases_dir", None, "phantom: folder for the NIfTI files; <output>/cases if not given."
)
_WORKDIR = path_flags.define_path("workdir", None, "synthetic: work directory of the trained stages.")
_LABELS_FROM = path_flags.define_path("labels_from", None, "synthetic: prepared data set whose labels are used.")
_COUNT = flags.DEFINE_integer("count", 1000, "synthetic: number of slices to make.", lower_bound=1)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options",
    None,
    "Build on Apache Beam (pip install 'mmsynth_tf[beam]') with these options, such as '--runner=DirectRunner'; its "
    "workers need to see the same folders.",
)
_WORKER = flags.DEFINE_integer("worker", None, "synthetic: make this worker's share only, from 0.", lower_bound=0)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 1, "synthetic: workers that share the work.", lower_bound=1)

configs_flags.define_config_flags()


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    if _CHECK.value:
        sys.exit(_check())
    from mmsynth_tf.storage.atomic import new_folder

    builds = {_BRATS: _build_brats, _PHANTOM: _build_phantom, _SYNTHETIC: _build_synthetic}
    output = Path(_required(_OUTPUT))
    if _WORKER.value is not None:
        _make_share(output)
        return
    with new_folder(output, constants.DATA_SET_RECORD, _OVERWRITE.value) as folder:
        builds[_SOURCE.value](folder)
    if _SOURCE.value == _SYNTHETIC:
        from datasets import synthetic
        from mmsynth_tf import prepared
        from mmsynth_tf.reports import lesion_requirement

        # Only now that the data set is in its place.
        shutil.rmtree(synthetic.blocks_folder(output))
        print(lesion_requirement.text(prepared.open_prepared(output).record))
    print(f"Prepared data set: {output}")


def _check() -> int:
    """Prints the table of problems; returns the exit status."""
    if _SOURCE.value != _BRATS:
        raise UserError(f"--check reads case files; it has no meaning with --source={_SOURCE.value}.")
    from datasets import check
    from mmsynth_tf.reading.releases import search_cases

    data = configs_flags.config_from_flags().data
    found = search_cases(_required(_INPUT), data.modalities, _RELEASE.value)
    problems = check.check_cases(found, data, _ALLOW_INCOMPLETE.value)
    if problems:
        print(check.problem_table(problems))
    errors = [problem for problem in problems if not problem.is_warning]
    print(f"{_counted(found.cases)}, {len(errors)} errors, {len(problems) - len(errors)} warnings.")
    return 1 if errors else 0


def _counted(cases: "Sequence[CaseFiles]") -> str:
    return f"{len(cases)} cases of {len({case.patient_id for case in cases})} patients"


def _build_brats(folder: Path) -> None:
    from datasets import brats
    from mmsynth_tf.reading.releases import find_cases

    data = configs_flags.config_from_flags().data
    cases = find_cases(_required(_INPUT), data.modalities, _RELEASE.value)
    releases = "+".join(sorted({case.release.name for case in cases}))
    print(f"{_counted(cases)}, release {releases}")
    unlabelled = sum(case.label is None for case in cases)
    if unlabelled:
        print(f"{unlabelled} cases have no label: their slices are kept, but all stages train on labelled slices only")
    brats.build(cases, data, folder, _ALLOW_INCOMPLETE.value, releases, _beam_options())


def _build_phantom(folder: Path) -> None:
    from datasets import brats, phantom
    from mmsynth_tf.reading.releases import find_cases

    config = configs_flags.config_from_flags()
    cases_dir = Path(_CASES_DIR.value) if _CASES_DIR.value else folder / "cases"
    phantom.write_cases(cases_dir, _NUM_CASES.value, seed=config.runtime.seed)
    cases = find_cases(cases_dir, config.data.modalities)
    brats.build(cases, config.data, folder, allow_incomplete=False, release=_PHANTOM, beam_options=_beam_options())


def _build_synthetic(folder: Path) -> None:
    from datasets import synthetic

    if _NUM_WORKERS.value > 1:
        raise UserError("--num_workers needs --worker; without both, the data set is finished.")
    make_generation, output = _make_generation(), Path(_OUTPUT.value)
    if _BEAM_OPTIONS.value:
        synthetic.make_blocks_on_beam(make_generation, _COUNT.value, output, _beam_options())
    synthetic.build(make_generation(), _COUNT.value, output, folder)


def _make_share(output: Path) -> None:
    """Makes one worker's share of the samples of a synthetic data set."""
    if _SOURCE.value != _SYNTHETIC or _WORKER.value >= _NUM_WORKERS.value:
        raise UserError("--worker is for --source=synthetic and goes from 0 to --num_workers - 1.")
    from datasets import synthetic

    synthetic.make_blocks(_make_generation()(), _COUNT.value, output, _WORKER.value, _NUM_WORKERS.value)
    print(f"Worker {_WORKER.value} of {_NUM_WORKERS.value} is done. Finish with the same command without --worker.")


def _make_generation() -> "Callable[[], sampling.Generation]":
    from mmsynth_tf.generation import sampling

    return functools.partial(
        sampling.repeatable_generation, _required(_WORKDIR), _required(_LABELS_FROM), configs_flags.config_from_flags()
    )


def _beam_options() -> "PipelineOptions | None":
    if not _BEAM_OPTIONS.value:
        return None
    from datasets import on_beam

    return on_beam.pipeline_options(_BEAM_OPTIONS.value)


def _required(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f"--source={_SOURCE.value} needs --{flag.name}.")
    return flag.value


if __name__ == "__main__":
    program.run(main)
