"""Settings of the segmentation stage and of the joint segmenter (method §8). No TensorFlow here."""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.stage import FORMULATION_HELP, StageConfig, chosen
from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class SegmentationLossWeights:
    """Weights of the segmenters' terms (method §8), each a sum over modalities."""

    squared_error: float = setting(0.0, "|l-l_r|^2 on one-hot channels, class weighted.", trains="lesion")
    dice: float = setting(1.0, "Soft Dice loss; beyond the paper.", trains="lesion")
    cross_entropy: float = setting(1.0, "Cross-entropy; beyond the paper.", trains="lesion")


@dataclasses.dataclass(frozen=True)
class SegmentationChoices:
    """In what the measured segmenters and the paper's differ.

    Attributes:
      weights: of the loss terms.
      class_weights: of the squared error, one number a class; the last stands for all that follow.
      learning_rate: Adam's, at the start.
      beta_1: Adam's.
      cosine_decay: whether the learning rate decays by half a cosine; otherwise it is constant.
      dropout: rate at the input.
      mean_filter_init: whether segmenters start as mean filters (paper §3.1).
      augmentation: of the training slices: none, weak or strong.
    """

    weights: SegmentationLossWeights = SegmentationLossWeights()
    class_weights: tuple[float, ...] = (1.0,)
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    cosine_decay: bool = True
    dropout: float = 0.0
    mean_filter_init: bool = False
    augmentation: str = constants.STRONG


SEGMENTATION_FORMULATIONS = {
    constants.MEASURED: SegmentationChoices(),
    # §2.9 and §3.1 of the draft, with the class weights of the authors' code.
    constants.PAPER: SegmentationChoices(
        weights=SegmentationLossWeights(squared_error=1.0, dice=0.0, cross_entropy=0.0),
        class_weights=(1.0, 15.0, 85.0, 85.0, 85.0),
        learning_rate=1e-4,
        beta_1=0.5,
        cosine_decay=False,
        dropout=0.1,
        mean_filter_init=True,
        augmentation=constants.UNCHANGED,
    ),
}


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(StageConfig):
    """Lesion segmenters, one for each modality (method §8)."""

    formulation: str = setting(constants.MEASURED, FORMULATION_HELP)
    steps: int = setting(40_000, "Training steps of each segmenter.")
    batch_size: int = setting(8, "Global batch size, slices.")
    design: str = setting(
        constants.SEGMENTER_PER_MODALITY,
        "What the modalities share: 1seg, 1ecl_4dcl or 4seg (paper §2.7). The joint segmenter is the stage joint.",
    )
    base_filters: int = setting(32, "Filters of the first level of the U-Nets, also of the joint segmenter.")
    levels: int = setting(5, "Resolution levels of these U-Nets; see `slice_sizes.unet_levels`.")

    @property
    def choices(self) -> SegmentationChoices:
        """In what formulations differ.

        Raises:
          UserError: there is no formulation of that name.
        """
        return chosen(SEGMENTATION_FORMULATIONS, self.formulation)


@dataclasses.dataclass(frozen=True)
class JointConfig(StageConfig):
    """The joint segmenter: one U-Net of all modalities, any of which may be missing (beyond the paper)."""

    steps: int = setting(40_000, "Training steps.")
    batch_size: int = setting(16, "Global batch size, registered slices.")

    @property
    def choices(self) -> SegmentationChoices:
        """Those of the measured segmenters, because the paper has no joint one."""
        return SEGMENTATION_FORMULATIONS[constants.MEASURED]
