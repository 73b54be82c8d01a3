"""Settings of the three training stages (`Config` holds them). No TensorFlow here.

Loss weights state the equation of the method that they weigh and the value the authors' code used ("authors").
"""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.stage import StageConfig
from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class SynthesisLossWeights:
    """Weights of the modality GAN's terms (method §6)."""

    # Discriminators.
    discriminator_real: float = setting(1.0, "sum_i |d(x_i)-1|^2; authors 50.")
    discriminator_synthetic: float = setting(1.0, "sum_i |d(x_g,i)|^2; authors 35.")
    discriminator_translated: float = setting(0.3, "sum_ij |d(x_t,i,j)|^2; authors 5.")
    discriminator_class: float = setting(1.0, "class(x_i) = i, real slices; authors 50.")
    discriminator_class_synthetic: float = setting(
        0.0, "class(x_g,i) = i in the discriminator's loss, as in the draft; authors 0."
    )
    discriminator_class_translated: float = setting(
        0.0, "sum_ij class(x_t,i,j) = j in the discriminator's loss, as in the draft; authors 0."
    )
    code_discriminator: float = setting(0.1, "FD_R: |FD(code_i)-1|^2 + |FD(code_g)|^2; authors 1.")
    # Auxiliary training on real slices.
    translation_adversarial: float = setting(0.3, "sum_ij |d(x_t,i,j)-1|^2; authors 5.")
    translation_class: float = setting(0.3, "sum_ij class(x_t,i,j) = j; authors 50.")
    reconstruction: float = setting(50.0, "sum_i |x_i-x_r,i|^2; authors 5.")
    cycle: float = setting(20.0, "sum_ij |x_i-x_cr,j,i|^2; authors 10.")
    cycle_consistency: float = setting(2.0, "sum_ijk |x_cr,j,i-x_cr,k,i|^2; authors 2.")
    code_consistency: float = setting(0.5, "sum_ij |code_i-code_t,i,j|^2; authors 5.")
    lesion_supervised: float = setting(1.0, "sum_i |l_i-l_r,i|^2; trains the lesion processors alone.")
    # Synthesis.
    adversarial: float = setting(0.3, "sum_i |d(x_g,i)-1|^2; authors 35.")
    adversarial_class: float = setting(0.3, "sum_i class(x_g,i) = i; authors 50.")
    code_adversarial: float = setting(0.1, "|FD(code_g)-1|^2 + |FD(code_i)|^2, two-way; authors 1.")
    structure: float = setting(1.0, "sum_i |f-f_g,i|^2; authors 15 (without effect in their code).")
    structure_agreement: float = setting(
        0.0, "sum_i |f_g,i-mean_j f_g,j|^2: the modalities of a sample should show the same edges; beyond the paper."
    )
    lesion: float = setting(1.0, "sum_i |l-l_g,i|^2, lesion processors frozen; authors 1.")
    translation: float = setting(20.0, "sum_ij |x_g,i-x_gt,j,i|^2; authors 2.")
    code: float = setting(0.1, "|code_g-code_g,i|^2, authors 1.")
    code_pairs: float = setting(0.02, "sum_ij |code_g,i-code_g,j|^2; authors 0.2.")
    background: float = setting(10.0, "sum_i |x_g,i m|^2; authors 1.5.")
    # Beyond the draft.
    contrast: float = setting(50.0, "|contrast of x_g,i - wanted contrast|^2, where contrast is a condition.")
    # The authors' later pre-training loss.
    self_reconstruction: float = setting(
        50.0,
        "sum_i |x_i-x_g,i|^2 from the map and label of x_i itself; authors' later version 5 + 5; 0 skips its pass.",
    )
    self_reconstruction_lesion: float = setting(500.0, "The same within the lesion, a few per cent of the slice.")
    self_structure: float = setting(0.0, "sum_i |f_i-f_g,i|^2 of the structure maps of both; beyond the paper.")
    self_adversarial: float = setting(0.3, "sum_i |d(x_g,i)-1|^2 of these slices.")
    self_class: float = setting(0.3, "sum_i class(x_g,i) = i of these slices.")
    discriminator_self: float = setting(1.0, "sum_i |d(x_g,i)|^2 of these slices, in the discriminator's loss.")


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(StageConfig):
    """Multimodal synthesis with its auxiliary training (method §5, §6)."""

    steps: int = setting(200_000, "Training steps.")
    steps_per_checkpoint: int = setting(1_000, "Steps between checkpoints, previews and log rows.")
    batch_size: int = setting(4, "Global batch size, slices of each modality.")
    learning_rate: float = setting(2e-4, "Adam's learning rate.")
    discriminator_learning_rate: float = setting(2e-4, "Learning rate of the discriminators.")
    beta_1: float = setting(0.5, "Adam's beta_1.")
    lesion_design: str = setting(
        constants.SEGMENTER_PER_MODALITY,
        "What the lesion processors share: 1seg, 1ecl_4dcl or 4seg (paper §2.7); their size is that of the segmenters.",
    )
    cosine_decay: bool = setting(True, "Decay the learning rates by half a cosine; paper: constant.")
    pretrained_lesion: bool = setting(
        True,
        "Take the lesion processors, frozen, from the segmentation stage of the same workdir (the authors' later "
        "version); otherwise they train alongside. Paper: alongside.",
    )
    lesion_learning_rate: float = setting(1e-3, "Learning rate of the lesion processors.")
    translation_detached: bool = setting(
        True,
        "To the translator what was synthesised is data: its losses do not train what made it. Paper: they do.",
    )
    pretraining_steps: int = setting(
        20_000,
        "So many of the steps, the first ones, only rebuild slices from their own maps and labels (the authors' later "
        "version); paper: 0.",
    )
    full_every: int = setting(
        4,
        "Every this many-th of a step's rows goes through all of the method; the others are only rebuilt from their "
        "own maps and labels, which costs a fraction. Paper: 1.",
    )
    reconstruction_blur: float = setting(
        0.0,
        "Sigma of a Gaussian blur of both slices before one that was made from its own map is compared, pixels, which "
        "leaves the finest texture to the discriminator; lesions are compared as they are. Paper 0, none.",
    )
    triples_per_slice: int = setting(
        1, "Modality triples (i; j, k) drawn a slice to estimate the pair sums; 0 computes the exact sums."
    )
    fusion_noise: bool = setting(
        False, "Fill the head with uniform noise where the map has no edge (authors' later version)."
    )
    fusion_concatenate: bool = setting(
        False, "Concatenate map and one-hot label instead of their weighted sum (authors' later version)."
    )
    erase_under_label: bool = setting(
        True,
        "Erase the map's edges under the chosen label, and leave the lesion out of the structure loss; paper: no.",
    )
    base_filters: int = setting(
        32, "Filters of the first level of encoders and decoder; the code has four times as many."
    )
    discriminator_filters: int = setting(64, "Filters of the first layer of the discriminators.")
    conditional_normalization: bool = setting(
        True, "The modality also sets scale and shift of the decoder's normalisation; paper: it is only concatenated."
    )
    skips: bool = setting(
        True, "Features of the encoders' finer levels go to the decoder besides the code, as in a U-Net; paper: no."
    )
    contrast_condition: bool = setting(
        True,
        "The decoder is told the contrast to give a slice: that of a real slice in training, a drawn one in sampling; "
        "paper: no.",
    )
    residual_blocks: int = setting(2, "Residual blocks at the code's resolution, in each encoder and the decoder.")
    dropout: float = setting(0.0, "Dropout rate at the encoders' input; paper 0.1.")
    discriminator_normalization: str = setting(
        constants.SPECTRAL,
        "Normalisation in the discriminators: none, spectral, instance (of slices and maps, after their first layer) "
        "or instance_everywhere (of codes and in first layers, too); authors: the last.",
    )
    own_class_features: bool = setting(
        False,
        "The modality class is judged from features of its own, normalised by instance, not from those that judge "
        "real or fake: modalities become more distinct.",
    )
    judged_intensity: float = setting(
        0.0,
        "The discriminator of slices sees all of them, real or not, in other contrasts: gamma between exp(-v) and "
        "exp(v), darker by a share of up to v / 2, so that a modality is not judged by its brightness. Paper 0.",
    )
    softmax_class: bool = setting(True, "Modality class by softmax cross-entropy; paper: squared error on the class.")
    mean_filter_init: bool = setting(False, "Generators start as mean filters (paper §3.1).")
    discriminator_init_stddev: float = setting(
        0.02, "Standard deviation of the discriminators' weights; 0 takes He's. Paper 0.2."
    )
    class_weights: tuple[float, ...] = setting(
        (1.0, 10.0), "Class weights of the lesion losses; authors 1/10/50/50/50."
    )
    weights: SynthesisLossWeights = dataclasses.field(default_factory=SynthesisLossWeights)

    def require_consistent(self, replicas: int) -> None:
        super().require_consistent(replicas)
        if self.pretraining_steps and self.pretraining_steps >= self.steps:
            raise UserError(
                f"pretraining_steps ({self.pretraining_steps}) are a part of steps ({self.steps}) and must be fewer."
            )
        share = self.batch_size // replicas
        if share % self.full_every:
            raise UserError(
                f"full_every is {self.full_every}; a device's share of the batch ({share} rows) must be a multiple of "
                "it."
            )
