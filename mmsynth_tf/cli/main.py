"""The console script `mmsynth`: jobs on patients' files and on synthetic sets.

`mmsynth <job> --help` says what a job takes and needs.
"""

import dataclasses
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from absl import flags

from mmsynth_tf import constants
from mmsynth_tf import program as mmsynth_tf_program
from mmsynth_tf.cli import patient_jobs, synthetic_jobs

_FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class _Job:
    """A job: what does it, what defines its flags, and what it needs, a sentence each for models, input and time."""

    run: Callable[[], None]
    define_flags: Callable[[], None]
    needs: str

    @property
    def title(self) -> str:
        return self.run.__doc__.splitlines()[0]

    @property
    def help(self) -> str:
        text = self.run.__doc__.rstrip().replace("\n    ", "\n")
        return f"{text}\n\n{textwrap.fill(f'Needs: {self.needs}', 80)}\n"


_JOBS = {
    "translate": _Job(
        patient_jobs.translate,
        patient_jobs.define_translate,
        "models of the stages joint (or else segmentation) and synthesis. Cases without skull, one modality or more. "
        "With 64x64 models 1.4 GB of memory, and for three modalities from T1 8 s of processor time a case.",
    ),
    "insert": _Job(
        patient_jobs.insert,
        patient_jobs.define_insert,
        "models of the stage synthesis; --lesions_from any models. Cases without skull, one modality or more, with or "
        "without a lesion; lesion labels, or labelled cases. With 64x64 models 1.6 GB of memory, and 30 s of "
        "processor time a case with two lesions.",
    ),
    "sample": _Job(
        synthetic_jobs.sample, synthetic_jobs.define_sample, "models of the stages structure and synthesis. No input."
    ),
    "segment": _Job(
        patient_jobs.segment,
        patient_jobs.define_segment,
        "models of the stage joint, or else segmentation. Cases without skull, one modality or more. With 64x64 models "
        "1.2 GB of memory, and for four modalities 2.6 s of processor time a case.",
    ),
    "nnunet": _Job(
        synthetic_jobs.nnunet,
        synthetic_jobs.define_nnunet,
        "no models. A prepared set of real patients with all modalities and labels.",
    ),
    "view": _Job(
        patient_jobs.view,
        patient_jobs.define_view,
        "no models. NIfTI files; all cases must fit into memory, shrunk to 128 voxels along an axis.",
    ),
    "remake": _Job(
        synthetic_jobs.remake,
        synthetic_jobs.define_remake,
        "the work directory whose stages generated the set, and the set that its labels came from.",
    ),
    "card": _Job(
        synthetic_jobs.card,
        synthetic_jobs.define_card,
        "no models. A prepared synthetic set; with --workdir also its measurements.",
    ),
}


def main() -> None:
    """Does the job that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _JOBS:
        asked = name in ("--help", "-h", "help")
        print(_usage(name if not asked else ""), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 1)
    job = _JOBS[name]
    others = set(_FLAGS)
    job.define_flags()
    flags.DEFINE_integer("threads", None, "CPU threads; all cores if not given.", lower_bound=1)
    # Absl takes the text of --help and the flags in it from the program's own module.
    program = f"{Path(sys.argv[0]).name} {name}"
    sys.argv[:2] = [program]
    sys.modules["__main__"].__doc__ = job.help
    for flag in set(_FLAGS) - others:
        _FLAGS.register_key_flag_for_module(program, _FLAGS[flag])

    def run(argv: list[str]) -> None:
        mmsynth_tf_program.refuse_arguments(argv)
        mmsynth_tf_program.limit_threads(_FLAGS.threads)
        job.run()

    mmsynth_tf_program.run(run)


def _usage(unknown: str) -> str:
    lines = [f"There is no job {unknown!r}."] if unknown else []
    lines.append("Usage: mmsynth <job> --flag=value ...   (mmsynth <job> --help lists the flags)")
    lines += [f"  {name:10} {job.title}" for name, job in _JOBS.items()]
    return "\n".join([*lines, constants.DISCLAIMER])


if __name__ == "__main__":
    main()
