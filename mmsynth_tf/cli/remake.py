"""Makes samples of a synthetic data set again from their records and compares them with the stored ones, bit by bit.

    python -m mmsynth_tf.cli.remake --data=data/fake --sample=synthetic_000000012 --workdir=runs/a \\
        --labels_from=data/brats

Exit status 1 if a sample differs.
"""

import pathlib
import sys

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

_DATA = path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
_SAMPLE = flags.DEFINE_list("sample", None, "Case ids of the samples.", required=True)
_WORKDIR = path_flags.define_path("workdir", None, "Work directory of the stages that made it.", required=True)
_LABELS_FROM = path_flags.define_path("labels_from", None, "Prepared data set its labels came from.", required=True)
_OUTPUT = path_flags.define_path("output", None, "Folder for what is made: <case>.npz and <case>.png.")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf import prepared
    from mmsynth_tf.generation import remaking, sampling

    sampling.make_repeatable()
    remaker = remaking.Remaker(prepared.open_prepared(_DATA.value), _WORKDIR.value, _LABELS_FROM.value)
    identical = True
    for case_id in _SAMPLE.value:
        remade = remaker.remake(case_id)
        identical &= not remade.differences
        print(remade.summary())
        if _OUTPUT.value and remade.example:
            print(f"  {remaker.save(remade, pathlib.Path(_OUTPUT.value))}")
    if not identical:
        if remaker.changes:
            print(f"The last bit of a float depends on what it is computed with: {'; '.join(remaker.changes)}.")
        sys.exit(1)


if __name__ == "__main__":
    program.run(main)
