"""Trains one stage on a prepared data set.

    python train.py --stage=structure --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=segmentation --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=synthesis --preset=cpu --data_dir=data/brats --workdir=runs/a

Run the same command again to continue a run that was stopped, from its newest
checkpoint. On Ctrl-C or SIGTERM, a run first saves its current step. Any
setting can be changed: --config.synthesis.steps=500 (`--helpfull` lists them).
"""

import contextlib

from absl import flags

from mmsynth_tf import constants, prepared, program
from mmsynth_tf.configs import flags as configs_flags
from mmsynth_tf.configs import path_flags

_STAGE = flags.DEFINE_enum("stage", None, constants.STAGES, "Stage to train.", required=True)
_DATA_DIR = path_flags.define_paths(
    "data_dir", None, "Prepared data sets from datasets/build.py; several are combined.", required=True
)
_WORKDIR = path_flags.define_path(
    "workdir", None, "Folder for checkpoints and logs; each stage gets a subfolder.", required=True
)
_DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "Make runs bit-for-bit reproducible, also on GPUs; slower.")
_DETECT_ANOMALY = flags.DEFINE_bool(
    "detect_anomaly", False, "Check every tensor and name the first operation that gives NaN or infinity; slow."
)
configs_flags.define_config_flags()
flags.declare_key_flag("preset")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    config = configs_flags.config_from_flags()
    data = [prepared.open_prepared(path) for path in _DATA_DIR.value]
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    import tensorflow as tf

    from mmsynth_tf.training import anomaly, runs

    if _DETERMINISTIC.value:
        tf.config.experimental.enable_op_determinism()
    with anomaly.detected() if _DETECT_ANOMALY.value else contextlib.nullcontext():
        runs.train(_STAGE.value, config, data, _WORKDIR.value)


if __name__ == "__main__":
    program.run(main)
