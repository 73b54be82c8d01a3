"""The stages by name."""

from collections.abc import Mapping

from mmsynth_tf import constants
from mmsynth_tf.stages.base import Stage
from mmsynth_tf.stages.joint import stage as joint
from mmsynth_tf.stages.segmentation import stage as segmentation
from mmsynth_tf.stages.structure import stage as structure
from mmsynth_tf.stages.synthesis import stage as synthesis

STAGES: Mapping[str, Stage] = {
    constants.STRUCTURE: structure.STAGE,
    constants.SEGMENTATION: segmentation.STAGE,
    constants.JOINT: joint.STAGE,
    constants.SYNTHESIS: synthesis.STAGE,
}
