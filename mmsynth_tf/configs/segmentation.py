"""Settings of the segmentation stage (method §8). No TensorFlow here."""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.stage import StageConfig
from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class SegmentationLossWeights:
    """Weights of the segmenters' terms (method §8), each a sum over modalities."""

    squared_error: float = setting(0.0, "|l-l_r|^2 on one-hot channels, class weighted (the paper's only term).")
    dice: float = setting(1.0, "Soft Dice loss; beyond the paper.")
    cross_entropy: float = setting(1.0, "Cross-entropy; beyond the paper.")


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(StageConfig):
    """Lesion segmenters (method §8)."""

    steps: int = setting(40_000, "Training steps of each segmenter.")
    steps_per_checkpoint: int = setting(1_000, "Steps between checkpoints and log rows.")
    batch_size: int = setting(8, "Global batch size, slices.")
    learning_rate: float = setting(1e-3, "Adam's learning rate at the start.")
    beta_1: float = setting(0.9, "Adam's beta_1; paper 0.5.")
    design: str = setting(
        constants.SEGMENTER_PER_MODALITY, "What the modalities share: 1seg, 1ecl_4dcl or 4seg (paper §2.7)."
    )
    base_filters: int = setting(32, "Filters of the first level of the U-Net.")
    levels: int = setting(4, "Resolution levels of the U-Net.")
    dropout: float = setting(0.0, "Dropout rate at the input; paper 0.1.")
    class_weights: tuple[float, ...] = setting((1.0, 1.0), "Class weights of the squared error; authors 1/15/85/85/85.")
    mean_filter_init: bool = setting(False, "Segmenters start as mean filters (paper §3.1).")
    cosine_decay: bool = setting(True, "Decay the learning rate by half a cosine; paper: constant.")
    weights: SegmentationLossWeights = dataclasses.field(default_factory=SegmentationLossWeights)
