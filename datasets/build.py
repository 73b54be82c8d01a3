"""Builds a prepared data set: the folder that `train.py` takes as --data_dir and `evaluate.py` as --test_data.

From cases in any BraTS release, the Medical Segmentation Decathlon (Task01), or files named `<case>_<modality>.nii.gz`
of any organ:

    python datasets/build.py --source=cases --input=BraTS2018/ --output=data/brats --preset=default

Check the cases first, without writing anything. This prints one table of errors and warnings; the exit status is 1 if
there are errors:

    python datasets/build.py --source=cases --input=BraTS2018/ --check

All cases of a patient fall in one split. For BraTS and a few other public sets, the name of the case tells the patient.
For other names, put a file patients.csv with the columns case and patient into --input.

From simulated patients, without any download:

    python datasets/build.py --source=phantom --num_cases=20 --output=data/phantom --preset=demo

From trained generators:

    python datasets/build.py --source=synthetic --workdir=runs/a --labels_from=data/brats --output=data/synthetic

From a prepared set of real patients, without trained generators: lesions painted into its training slices, or lesions
of its training slices pasted into others.

    python datasets/build.py --source=painted --labels_from=data/brats --output=data/painted
    python datasets/build.py --source=pasted --labels_from=data/brats --output=data/pasted

A build of synthetic, painted or pasted slices that was stopped continues when the same command is run again. To share
one, give each of n workers the command with --num_workers=n --worker=0, 1, …, n-1. At the end, run it once without
both flags. It generates missing samples and packs the data set, which equals that of a single worker.

All builds also run on Apache Beam: --beam_options='--runner=FlinkRunner --flink_master=host:8081'.
"""

import functools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

if not __package__:  # Run as a script: the imported packages are in the parent folder.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from datasets import source_flags
from datasets.source_flags import CASES, PAINTED, PASTED, PHANTOM, SYNTHETIC
from mmsynth_tf import constants, program
from mmsynth_tf.configs import flags as configs_flags
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from datasets.synthetic.blocks import Generation
    from mmsynth_tf.reading.releases import CaseFiles

_FLAGS = flags.FLAGS
_SOURCE = flags.DEFINE_enum("source", None, list(source_flags.BY_SOURCE), "Origin of the slices.", required=True)
_OUTPUT = path_flags.define_path("output", None, "Folder of the prepared data set; must not exist yet.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options",
    None,
    "Build on Apache Beam (pip install 'mmsynth_tf[beam]') with these options, such as '--runner=DirectRunner'; its "
    "workers need access to the same folders.",
)

configs_flags.define_config_flags()
flags.declare_key_flag("preset")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    source_flags.refuse_others(_SOURCE.value)
    if _FLAGS.check:
        sys.exit(_check())
    from mmsynth_tf.storage.atomic import new_folder

    builds = {CASES: _build_cases, PHANTOM: _build_phantom}
    builds |= dict.fromkeys((SYNTHETIC, PASTED, PAINTED), _build_synthetic)
    output = Path(_required("output"))
    if _FLAGS.worker is not None:
        _make_share(output)
        return
    with new_folder(output, constants.DATA_SET_RECORD, _OVERWRITE.value) as folder:
        builds[_SOURCE.value](folder)
    if builds[_SOURCE.value] is _build_synthetic:
        from datasets import synthetic
        from mmsynth_tf import prepared
        from mmsynth_tf.reports import lesion_requirement

        # Only after the data set is in its final place.
        shutil.rmtree(synthetic.blocks_folder(output))
        if _SOURCE.value == SYNTHETIC:
            print(lesion_requirement.text(prepared.open_prepared(output).record))
    print(f"Prepared data set: {output}")


def _check() -> int:
    """Prints the table of problems; returns the exit status."""
    from datasets import check
    from mmsynth_tf.reading.releases import search_cases

    data = configs_flags.config_from_flags().data
    found = search_cases(_required("input"), data.modalities, _FLAGS.release)
    problems = check.check_cases(found, data, _FLAGS.allow_incomplete)
    if problems:
        print(check.problem_table(problems))
    errors = [problem for problem in problems if not problem.is_warning]
    print(f"{_counted(found.cases)}, {len(errors)} errors, {len(problems) - len(errors)} warnings.")
    return 1 if errors else 0


def _counted(cases: "Sequence[CaseFiles]") -> str:
    return f"{len(cases)} cases of {len({case.patient_id for case in cases})} patients"


def _build_cases(folder: Path) -> None:
    from datasets import cases
    from mmsynth_tf.reading.releases import find_cases

    if _FLAGS.train_patients and _FLAGS.fold is None:
        raise UserError("--train_patients takes some of a fold's patients. Name the fold with --fold.")
    data = configs_flags.config_from_flags().data
    found = find_cases(_required("input"), data.modalities, _FLAGS.release)
    releases = "+".join(sorted({case.release.name for case in found}))
    print(f"{_counted(found)}, release {releases}")
    unlabelled = sum(case.label is None for case in found)
    if unlabelled:
        print(f"{unlabelled} cases have no label: their slices are kept, but no stage trains on them.")
    subset = _FLAGS.fold, _FLAGS.train_patients
    cases.build(found, data, folder, _FLAGS.allow_incomplete, releases, *subset, beam_options=_beam_options())


def _build_phantom(folder: Path) -> None:
    from datasets import cases, phantom
    from mmsynth_tf.reading.releases import find_cases

    config = configs_flags.config_from_flags()
    cases_dir = Path(_FLAGS.cases_dir) if _FLAGS.cases_dir else folder / "cases"
    phantom.write_cases(cases_dir, _FLAGS.num_cases, seed=config.runtime.seed)
    found = find_cases(cases_dir, config.data.modalities)
    cases.build(found, config.data, folder, allow_incomplete=False, release=PHANTOM, beam_options=_beam_options())


def _build_synthetic(folder: Path) -> None:
    if _FLAGS.num_workers > 1:
        raise UserError(
            "--num_workers needs --worker, the number of this worker. Leave both out to finish the data set."
        )
    from datasets import synthetic

    make_generation, output = _make_generation(), Path(_OUTPUT.value)
    if _BEAM_OPTIONS.value:
        synthetic.make_blocks_on_beam(make_generation, _FLAGS.count, output, _beam_options())
    synthetic.build(make_generation(), _FLAGS.count, output, folder)


def _make_share(output: Path) -> None:
    """Makes one worker's share of the samples of a synthetic data set."""
    if _FLAGS.worker >= _FLAGS.num_workers:
        raise UserError(
            f"--worker={_FLAGS.worker} must be below --num_workers={_FLAGS.num_workers}, because workers count from 0."
        )
    from datasets import synthetic

    synthetic.make_blocks(_make_generation()(), _FLAGS.count, output, _FLAGS.worker, _FLAGS.num_workers)
    print(
        f"Worker {_FLAGS.worker} of {_FLAGS.num_workers} is done. After all workers, run the command without --worker "
        "and --num_workers."
    )


def _make_generation() -> "Callable[[], Generation]":
    from mmsynth_tf.generation import lesion_samples, sampling

    config = configs_flags.config_from_flags()
    if _SOURCE.value in (PASTED, PAINTED):
        return functools.partial(lesion_samples.LesionGeneration, _SOURCE.value, _required("labels_from"), config)
    return functools.partial(sampling.repeatable_generation, _required("workdir"), _required("labels_from"), config)


def _beam_options() -> "PipelineOptions | None":
    if not _BEAM_OPTIONS.value:
        return None
    from datasets import on_beam

    return on_beam.pipeline_options(_BEAM_OPTIONS.value)


def _required(name: str) -> str:
    if not _FLAGS[name].value:
        raise UserError(f"--source={_SOURCE.value} needs --{name}.")
    return _FLAGS[name].value


if __name__ == "__main__":
    __doc__ += source_flags.help_text()
    program.run(main)
