"""Writes the data card of a synthetic data set again, with what has been measured since it was built.

    python -m mmsynth_tf.cli.data_card --data=data/synthetic --workdir=runs/a

Measurements of other data sets, or older than this one, are left out.
"""

import pathlib

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

_DATA = path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
_WORKDIR = path_flags.define_path("workdir", None, "Work directory that holds evaluation/ with the measurements.")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.generation import data_card

    workdir = pathlib.Path(_WORKDIR.value) if _WORKDIR.value else None
    print(f"Data card: {data_card.write(pathlib.Path(_DATA.value), workdir)}")


if __name__ == "__main__":
    program.run(main)
