"""The whole configuration, `Config`, and the settings of a run. No TensorFlow here."""

import dataclasses

from mmsynth_tf.configs.data import AugmentationConfig, DataConfig, StructureMapConfig
from mmsynth_tf.configs.generation import GenerationConfig
from mmsynth_tf.configs.segmentation import JointConfig, SegmentationConfig
from mmsynth_tf.configs.structure import StructureConfig
from mmsynth_tf.configs.synthesis import SynthesisConfig
from mmsynth_tf.configs.translation import TranslationConfig
from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """Execution of a training run: seed, precision, checkpoints, memory and augmentation."""

    seed: int = setting(0, "Seed of weights and random streams.")
    precision: str = setting("float32", "float32, mixed_bfloat16 or mixed_float16.")
    jit_compile: bool = setting(False, "Compile training steps with XLA; one device only.")
    steps_per_checkpoint: int = setting(
        1_000, "Steps between checkpoints, previews and log rows; the last step also writes them."
    )
    ema_decay: float = setting(
        0.999, "Decay of the moving average of the generator's weights, which sampling uses; 0 is none."
    )
    cache: bool = setting(True, "Keep decoded slices in memory.")


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    structure_map: StructureMapConfig = dataclasses.field(default_factory=StructureMapConfig)
    structure: StructureConfig = dataclasses.field(default_factory=StructureConfig)
    segmentation: SegmentationConfig = dataclasses.field(default_factory=SegmentationConfig)
    joint: JointConfig = dataclasses.field(default_factory=JointConfig)
    synthesis: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    translation: TranslationConfig = dataclasses.field(default_factory=TranslationConfig)
    generation: GenerationConfig = dataclasses.field(default_factory=GenerationConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    runtime: RuntimeConfig = dataclasses.field(default_factory=RuntimeConfig)
