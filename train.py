"""Trains one stage on a prepared data set.

    python train.py --stage=structure --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=segmentation --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=synthesis --preset=cpu --data_dir=data/brats --workdir=runs/a

A run that was stopped continues from its newest checkpoint when the same
command is given again. Any setting can be changed: --config.synthesis.steps=500
(`--helpfull` lists them).
"""

import os

from absl import flags

from mmsynth_tf import commands, constants, flags_config

_STAGE = flags.DEFINE_enum("stage", None, constants.STAGES, "What to train.", required=True)
_DATA_DIR = flags.DEFINE_list(
    "data_dir", None, "Prepared data sets, made by datasets/build.py; several are joined.", required=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints and logs, one subfolder a stage.", required=True
)
flags_config.define_config_flags()


def main(argv: list[str]) -> None:
    commands.refuse_arguments(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf import prepared, training

    data = [prepared.open_prepared(path) for path in _DATA_DIR.value]
    training.train(_STAGE.value, flags_config.config_from_flags(), data, _WORKDIR.value)


if __name__ == "__main__":
    commands.run(main)
