"""Settings of the synthesis stage (method §5, §6). No TensorFlow here.

Loss weights state the equation of the method that they weigh and the value the authors' code used ("authors").
"""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.stage import FORMULATION_HELP, StageConfig, chosen
from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError

# Groups of networks.
_GENERATOR, _DISCRIMINATOR, _LESION = "generator", "discriminator", "lesion"


@dataclasses.dataclass(frozen=True)
class SynthesisLossWeights:
    """Weights of the draft's terms (method §6). 0 computes none of a term.

    x_g,i are the slices that the step makes of maps and labels: of the chosen ones and, where slices are rebuilt, of
    their own, too.
    """

    # Discriminators.
    discriminator_real: float = setting(1.0, "sum_i |d(x_i)-1|^2; authors 50.", trains=_DISCRIMINATOR)
    discriminator_synthetic: float = setting(0.5, "sum_i |d(x_g,i)|^2; authors 35.", trains=_DISCRIMINATOR)
    discriminator_translated: float = setting(0.05, "sum_ij |d(x_t,i,j)|^2; authors 5.", trains=_DISCRIMINATOR)
    discriminator_class: float = setting(1.0, "class(x_i) = i, real slices; authors 50.", trains=_DISCRIMINATOR)
    code_discriminator: float = setting(
        0.1, "FD_R: |FD(code_i)-1|^2 + |FD(code_g)|^2; authors 1.", trains=_DISCRIMINATOR
    )
    # Auxiliary training on real slices.
    translation_adversarial: float = setting(0.1, "sum_ij |d(x_t,i,j)-1|^2; authors 5.", trains=_GENERATOR)
    translation_class: float = setting(0.1, "sum_ij class(x_t,i,j) = j; authors 50.", trains=_GENERATOR)
    reconstruction: float = setting(50.0, "sum_i |x_i-x_r,i|^2; authors 5.", trains=_GENERATOR)
    cycle: float = setting(20.0, "sum_ij |x_i-x_cr,j,i|^2; authors 10.", trains=_GENERATOR)
    cycle_consistency: float = setting(2.0, "sum_ijk |x_cr,j,i-x_cr,k,i|^2; authors 2.", trains=_GENERATOR)
    code_consistency: float = setting(0.5, "sum_ij |code_i-code_t,i,j|^2; authors 5.", trains=_GENERATOR)
    # Synthesis.
    adversarial: float = setting(1.0, "sum_i |d(x_g,i)-1|^2; authors 35.", trains=_GENERATOR)
    code_adversarial: float = setting(0.1, "|FD(code_g)-1|^2 + |FD(code_i)|^2, two-way; authors 1.", trains=_GENERATOR)
    structure: float = setting(3.0, "sum_i |f-f_g,i|^2; authors 15 (without effect in their code).", trains=_GENERATOR)
    lesion: float = setting(15.0, "sum_i |l-l_g,i|^2, lesion processors frozen; authors 1.", trains=_GENERATOR)
    translation: float = setting(20.0, "sum_ij |x_g,i-x_gt,j,i|^2; authors 2.", trains=_GENERATOR)
    code: float = setting(0.1, "|code_g-code_g,i|^2, authors 1.", trains=_GENERATOR)
    code_pairs: float = setting(0.02, "sum_ij |code_g,i-code_g,j|^2; authors 0.2.", trains=_GENERATOR)
    background: float = setting(10.0, "sum_i |x_g,i m|^2; authors 1.5.", trains=_GENERATOR)


@dataclasses.dataclass(frozen=True)
class FurtherLossWeights:
    """Weights that depend on the formulation; few terms are in all formulations. A term of weight 0 is not computed."""

    # With 3, T1 was hatched (docs/experiments/registered_rows.md).
    adversarial_class: float = setting(0.5, "sum_i class(x_g,i) = i; authors 50.", trains=_GENERATOR)

    # Beyond the paper; slices rebuilt from their own maps and labels are the authors' later pre-training.
    self_reconstruction: float = setting(
        50.0, "sum_i |x_i-x_g,i|^2, blurred, from the map and label of x_i itself; 0 skips its pass.", trains=_GENERATOR
    )
    self_reconstruction_lesion: float = setting(
        500.0, "The same within the lesion, a few per cent of the slice, not blurred.", trains=_GENERATOR
    )
    self_structure: float = setting(9.0, "sum_i |f_i-f_g,i|^2 of the structure maps of both.", trains=_GENERATOR)
    structure_agreement: float = setting(
        3.0, "sum_i |f_g,i-mean_j f_g,j|^2: the modalities of a sample should show the same edges.", trains=_GENERATOR
    )
    contrast: float = setting(50.0, "|contrast of x_g,i - wanted contrast|^2.", trains=_GENERATOR)
    # Beyond the paper, for registered slices only. d_J sees all modalities of a slice as channels.
    paired_translation: float = setting(20.0, "sum_ij |x_j-x_t,i,j|^2, blurred.", trains=_GENERATOR)
    joint_adversarial: float = setting(8.0, "|d_J(x_g)-1|^2, all modalities as channels.", trains=_GENERATOR)
    joint_discriminator_real: float = setting(1.0, "|d_J(x)-1|^2.", trains=_DISCRIMINATOR)
    joint_discriminator_synthetic: float = setting(0.5, "|d_J(x_g)|^2.", trains=_DISCRIMINATOR)
    # In the draft; the authors' code has neither.
    discriminator_class_synthetic: float = setting(0.0, "class(x_g,i) = i.", trains=_DISCRIMINATOR)
    discriminator_class_translated: float = setting(0.0, "sum_ij class(x_t,i,j) = j.", trains=_DISCRIMINATOR)
    lesion_supervised: float = setting(0.0, "sum_i |l_i-l_r,i|^2.", trains=_LESION)


@dataclasses.dataclass(frozen=True)
class SynthesisChoices:
    """Choices in which the formulations of the synthesis stage differ.

    Attributes:
      weights: those that depend on the formulation.
      registered: whether a row holds all modalities of one slice, rebuilt from the map of one modality. Otherwise each
        modality draws its own slices and rebuilds them from their own maps.
      class_weights: of the lesion losses, one number per class; the last also holds for all further classes.
      pretrained_lesion: whether the lesion processors are the segmenters of the same work directory, frozen (the
        authors' later version); otherwise they train alongside.
      lesion_learning_rate: of lesion processors that train alongside.
      cosine_decay: whether learning rates decay by half a cosine; otherwise they are constant.
      translation_detached: whether the translator treats synthetic slices as data, so that its losses do not train
        the synthesis.
      erase_under_label: whether the map's edges under the chosen label are erased, and lesions left out of structure
        losses.
      fusion_noise: whether the head is filled with uniform noise where the map has no edge (the authors' later
        version).
      fusion_concatenate: whether map and one-hot label are concatenated in place of their weighted sum (likewise).
      contrast_condition: whether the wanted contrast of a slice is a condition of the decoder: that of a real slice in
        training, a random one in sampling.
      conditional_normalization: whether the modality also sets scale and shift of the decoder's normalisation;
        otherwise it is only concatenated.
      skips: whether features of the encoders' finer levels go to the decoder besides the code, as in a U-Net.
      code_halvings: how often the encoders halve a slice; 0 follows the size of slices.
      residual_blocks: number of them at the code's resolution, in each encoder and the decoder.
      dropout: rate at the encoders' input.
      mean_filter_init: whether generators start as mean filters (paper §3.1).
      augmentation: of the training slices: none or weak.
      discriminator_halvings: how often the discriminator halves a slice; 0 follows the size of slices.
      discriminator_normalization: one of `constants.DISCRIMINATOR_NORMALIZATIONS`.
      discriminator_init_stddev: of the discriminators' weights; 0 takes He's.
      softmax_class: whether the modality class is judged by softmax cross-entropy; otherwise by squared error on the
        class.
      own_class_features: whether the modality class has its own features, normalised by instance, separate from those
        of real or fake; modalities become more distinct.
      lesion_looks: whether lesions of synthetic sets get the brightness and texture of real ones (`lesion_looks`).
      judged_intensity: v, strength of the contrast change of all slices that the discriminator sees. Gamma is between
        exp(-v) and exp(v), and slices are darker by up to v / 2; brightness alone then does not tell a modality.
    """

    weights: FurtherLossWeights = FurtherLossWeights()
    registered: bool = True
    class_weights: tuple[float, ...] = (1.0, 10.0)
    pretrained_lesion: bool = True
    lesion_learning_rate: float = 1e-3
    cosine_decay: bool = True
    translation_detached: bool = True
    erase_under_label: bool = True
    fusion_noise: bool = True
    fusion_concatenate: bool = True
    contrast_condition: bool = True
    conditional_normalization: bool = True
    skips: bool = True
    code_halvings: int = 0
    residual_blocks: int = 2
    dropout: float = 0.0
    mean_filter_init: bool = False
    augmentation: str = constants.WEAK
    discriminator_halvings: int = 0
    discriminator_normalization: str = constants.INSTANCE
    discriminator_init_stddev: float = 0.0
    softmax_class: bool = True
    own_class_features: bool = True
    lesion_looks: bool = True
    judged_intensity: float = 1.0


# Terms that need registered slices, switched off.
NO_REGISTERED_TERMS = {
    "paired_translation": 0.0,
    "joint_adversarial": 0.0,
    "joint_discriminator_real": 0.0,
    "joint_discriminator_synthetic": 0.0,
}

SYNTHESIS_FORMULATIONS = {
    constants.MEASURED: SynthesisChoices(),
    constants.UNREGISTERED: SynthesisChoices(
        weights=FurtherLossWeights(adversarial_class=3.0, **NO_REGISTERED_TERMS), registered=False
    ),
    # §2.4 to §2.7 and §3.1 of the draft; the discriminators' normalisation and class weights are those of the authors'
    # code. The draft's sums over classes have the weight that the authors give to those of real slices.
    constants.PAPER: SynthesisChoices(
        weights=FurtherLossWeights(
            adversarial_class=50.0,
            self_reconstruction=0.0,
            self_reconstruction_lesion=0.0,
            self_structure=0.0,
            structure_agreement=0.0,
            contrast=0.0,
            **NO_REGISTERED_TERMS,
            discriminator_class_synthetic=50.0,
            discriminator_class_translated=50.0,
            lesion_supervised=1.0,
        ),
        registered=False,
        class_weights=(1.0, 10.0, 50.0, 50.0, 50.0),
        pretrained_lesion=False,
        lesion_learning_rate=1e-4,
        cosine_decay=False,
        translation_detached=False,
        erase_under_label=False,
        fusion_noise=False,
        fusion_concatenate=False,
        contrast_condition=False,
        conditional_normalization=False,
        skips=False,
        code_halvings=2,
        residual_blocks=0,
        dropout=0.1,
        mean_filter_init=True,
        augmentation=constants.UNCHANGED,
        discriminator_halvings=3,
        discriminator_normalization=constants.INSTANCE_EVERYWHERE,
        discriminator_init_stddev=0.2,
        softmax_class=False,
        own_class_features=False,
        lesion_looks=False,
        judged_intensity=0.0,
    ),
}


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(StageConfig):
    """Multimodal synthesis with its auxiliary training (method §5, §6)."""

    formulation: str = setting(
        constants.MEASURED,
        f"{FORMULATION_HELP} unregistered: as measured, for modalities of different patients or scans.",
    )
    steps: int = setting(200_000, "Training steps.")
    pretraining_steps: int = setting(
        20_000,
        "First part of `steps`, which trains only the reconstruction of slices from their own maps and labels (the "
        "authors' later version); paper: 0.",
    )
    batch_size: int = setting(4, "Global batch size, slices of each modality.")
    full_every: int = setting(
        4,
        "One of this many slices of a batch trains all loss terms. The others train only the cheaper reconstruction "
        "from their own maps and labels. Paper: 1.",
    )
    triples_per_slice: int = setting(
        1, "Modality triples (i; j, k) drawn per slice to estimate the pair sums; 0 computes the exact sums. Paper: 0."
    )
    learning_rate: float = setting(1e-3, "Adam's learning rate; paper 1e-4.")
    discriminator_learning_rate: float = setting(1e-3, "Learning rate of the discriminators; paper 1e-4.")
    base_filters: int = setting(
        32, "Filters of the first level of encoders and decoder; the code has four times as many."
    )
    discriminator_filters: int = setting(64, "Filters of the first layer of the discriminators.")
    weights: SynthesisLossWeights = dataclasses.field(default_factory=SynthesisLossWeights)

    @property
    def choices(self) -> SynthesisChoices:
        """The choices of the formulation.

        Raises:
          UserError: the formulation is unknown.
        """
        return chosen(SYNTHESIS_FORMULATIONS, self.formulation)

    def require_consistent(self, replicas: int) -> None:
        super().require_consistent(replicas)
        if self.pretraining_steps and self.pretraining_steps >= self.steps:
            raise UserError(
                f"synthesis.pretraining_steps ({self.pretraining_steps}) must be below synthesis.steps ({self.steps}), "
                "of which they are a part."
            )
        share = self.batch_size // replicas
        if share % self.full_every:
            raise UserError(
                f"The batch of each device ({share} slices) must be a multiple of synthesis.full_every "
                f"({self.full_every}). Change synthesis.batch_size or synthesis.full_every."
            )
