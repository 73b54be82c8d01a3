"""Trains one stage, or all, on a prepared data set.

    python train.py --stage=all --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=joint --preset=cpu --data_dir=data/brats --workdir=runs/a
    python train.py --stage=all --preset=auto --data_dir=data/brats --workdir=runs/a

--preset=auto chooses filters, batches and lengths from the data set and the
memory of the device, says why, and keeps its choice in the work directory.

The stages are structure, segmentation (a lesion segmenter for each modality),
joint (one lesion segmenter of all modalities) and synthesis, which needs the
segmentation stage.

Run the same command again to continue a run that was stopped, from its newest
checkpoint. On Ctrl-C or SIGTERM, a run first saves its current step. Any
setting can be changed: --config.synthesis.steps=500 (`--helpfull` lists them).
"""

import contextlib
import os

from absl import flags

from mmsynth_tf import constants, prepared, program
from mmsynth_tf.configs import Config, path_flags
from mmsynth_tf.configs import flags as configs_flags
from mmsynth_tf.errors import UserError
from mmsynth_tf.training import planning

_ALL = "all"
_STAGE = flags.DEFINE_enum(
    "stage", None, [*constants.STAGES, _ALL], "Stage to train; all: one after the other.", required=True
)
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
configs_flags.define_config_flags(further=[planning.AUTO])
flags.declare_key_flag("preset")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    data = [prepared.open_prepared(path) for path in _DATA_DIR.value]
    automatic = flags.FLAGS.preset == planning.AUTO
    config = None if automatic else configs_flags.config_from_flags()
    if automatic and os.environ.get("TF_CONFIG"):
        raise UserError("Machines that train together need the same settings: name a preset instead of --preset=auto.")
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    import tensorflow as tf

    from mmsynth_tf.training import anomaly, devices, runs

    if config is None:
        config = configs_flags.config_from_flags(planning.planned(data, _WORKDIR.value, devices.training_device()))
    if _DETERMINISTIC.value:
        tf.config.experimental.enable_op_determinism()
    with anomaly.detected() if _DETECT_ANOMALY.value else contextlib.nullcontext():
        # A refusal should not come after hours of other stages.
        for stage in _stages(config):
            runs.require_slices(stage, config, data)
        for stage in _stages(config):
            runs.train(stage, config, data, _WORKDIR.value)


def _stages(config: Config) -> tuple[str, ...]:
    """The stages to train; of all stages, those of the paper where it is followed, which has no joint segmenter."""
    if _STAGE.value != _ALL:
        return (_STAGE.value,)
    return constants.PAPER_STAGES if config.segmentation.formulation == constants.PAPER else constants.STAGES


if __name__ == "__main__":
    program.run(main)
