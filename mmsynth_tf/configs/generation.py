"""Settings of the synthetic data set and its filters (method §4, §7). No TensorFlow here."""

import dataclasses

from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """The synthetic data set and its filters (method §4, §7)."""

    batch_size: int = setting(32, "Number of samples per batch.")
    mask_error: float = setting(0.05, "Algorithm 3 accepts a map when mean|m'-m| is at most this; 1 accepts all.")
    map_quantile: float = setting(
        0.1,
        "Drop generated maps that resemble real maps too little. The threshold is this quantile of the correlation "
        "between each real map and the most similar map of another patient; 0 keeps all. Paper: 0.",
    )
    real_anatomy: bool = setting(
        False,
        "Insert synthetic lesions into real training slices, augmented as in `augmentation`, instead of generating "
        "whole slices from noise. Such a set contains patients' images. Paper: false.",
    )
    dice_threshold: float = setting(
        0.7, "Drop samples whose mean Dice against their label is below this; 0 keeps all. Paper 0.95."
    )
