"""Configuration: one tree of frozen dataclasses. No TensorFlow here.

Every field can be set on the command line as ``--config.<path>=<value>``, for
example ``--config.synthesis.steps=2000``.
"""

from mmsynth_tf.configs.config import Config, RuntimeConfig
from mmsynth_tf.configs.data import AugmentationConfig, DataConfig, StructureMapConfig
from mmsynth_tf.configs.generation import GenerationConfig
from mmsynth_tf.configs.presets import PRESETS, preset
from mmsynth_tf.configs.segmentation import JointConfig, SegmentationConfig, SegmentationLossWeights
from mmsynth_tf.configs.stage import StageConfig
from mmsynth_tf.configs.structure import StructureConfig, StructureLossWeights
from mmsynth_tf.configs.synthesis import SynthesisConfig, SynthesisLossWeights
from mmsynth_tf.configs.translation import TranslationConfig

__all__ = [
    "PRESETS",
    "AugmentationConfig",
    "Config",
    "DataConfig",
    "GenerationConfig",
    "JointConfig",
    "RuntimeConfig",
    "SegmentationConfig",
    "SegmentationLossWeights",
    "StageConfig",
    "StructureConfig",
    "StructureLossWeights",
    "StructureMapConfig",
    "SynthesisConfig",
    "SynthesisLossWeights",
    "TranslationConfig",
    "preset",
]
