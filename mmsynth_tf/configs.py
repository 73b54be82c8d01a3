"""Configuration: one tree of frozen dataclasses, and the presets. No TensorFlow here.

Every field can be set on the command line as ``--config.<path>=<value>``, for
example ``--config.synthesis.steps=2000``. Loss weights state the equation of
the method that they weigh and the value the authors' code used ("authors").
"""

import dataclasses
from typing import Any

from mmsynth_tf import commands, constants


def _setting(default: Any, text: str) -> Any:
    """A dataclass field with its help text."""
    factory = {"default_factory": lambda: default} if isinstance(default, dict) else {"default": default}
    return dataclasses.field(metadata={"help": text}, **factory)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What a prepared data set looks like. Stored with the data set; models take it from there."""

    modalities: tuple[str, ...] = _setting(constants.BRATS_MODALITIES, "Names of the modalities, in channel order.")
    labels: tuple[str, ...] = _setting(constants.BRATS_LABELS, "Names of the label classes; the first is background.")
    regions: dict[str, tuple[int, ...]] = _setting(constants.BRATS_REGIONS, "Evaluation regions: name to label values.")
    slice_start: int = _setting(50, "First axial slice (index from the feet, inclusive).")
    slice_stop: int = _setting(105, "Last axial slice (exclusive).")
    slice_step: int = _setting(1, "Take every n-th slice.")
    crop_rows: tuple[int, int] = _setting((0, 240), "Rows (anterior to posterior) kept, start and stop, voxels.")
    crop_columns: tuple[int, int] = _setting((0, 240), "Columns (right to left) kept, start and stop, voxels.")
    height: int = _setting(240, "Slice height after resizing, pixels.")
    width: int = _setting(240, "Slice width after resizing, pixels.")
    voxel_mm: tuple[float, float, float] = _setting(
        (1.0, 1.0, 1.0), "Size of a voxel of the volumes: between slices, rows and columns, mm."
    )
    percentile_low: float = _setting(0.5, "Percentile of the head's voxels that maps to the bottom of the range.")
    percentile_high: float = _setting(99.5, "Percentile of the head's voxels that maps to 1.")
    test_fraction: float = _setting(0.1, "Share of the patients kept for testing.")
    validation_fraction: float = _setting(0.0, "Share of the patients kept for validation.")
    split_seed: int = _setting(0, "Seed of the split by patient.")

    def __post_init__(self):
        for names, what in ((self.modalities, "modalities"), (self.labels, "labels")):
            if len(set(names)) < len(names):
                raise commands.UserError(f"data.{what} names one twice: {', '.join(names)}.")
        reserved = sorted(set(self.modalities) & set(constants.RESERVED_NAMES))
        if reserved:
            raise commands.UserError(
                f"A modality must not be called {', '.join(reserved)}: other values go by that name. "
                "Rename it in data.modalities, and its files."
            )
        if len(self.voxel_mm) != 3 or min(self.voxel_mm) <= 0:
            raise commands.UserError(f"data.voxel_mm is {self.voxel_mm}; give three sizes in mm, such as 1,1,1.")
        for region, values in self.regions.items():
            unknown = sorted(set(values) - set(range(len(self.labels))))
            if unknown:
                raise commands.UserError(
                    f"Region {region!r} in data.regions holds label {unknown[0]}, but data.labels names "
                    f"{len(self.labels)} labels, 0 to {len(self.labels) - 1}. Set data.regions to fit data.labels."
                )

    @property
    def num_modalities(self) -> int:
        return len(self.modalities)

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between the prepared slices, their rows and their columns, mm."""
        between, row, column = self.voxel_mm
        (top, bottom), (right, left) = self.crop_rows, self.crop_columns
        return between * self.slice_step, row * (bottom - top) / self.height, column * (left - right) / self.width


@dataclasses.dataclass(frozen=True)
class StructureMapConfig:
    """Algorithms 1 and 2: structure map and background mask (method §1, §2)."""

    beta: float = _setting(
        0.07, "Algorithm 1's threshold on the scaled Sobel maps; authors 0.07, later 0.12 and 0.035."
    )
    blur_before: float = _setting(0.0, "Sigma of a Gaussian blur before the threshold, pixels; 0 is none.")
    blur_after: float = _setting(0.0, "Sigma of a Gaussian blur of the binary map, pixels; 0 is none.")
    blur_after_threshold: float = _setting(0.05, "Threshold that makes the blurred map binary again.")
    median: int = _setting(0, "Window of a median filter of the binary map, pixels (odd); 0 is none.")
    mask_outside: bool = _setting(False, "Multiply the map by 1 - background.")
    background_threshold: float = _setting(0.0, "Algorithm 2's threshold t on x.")
    background_expand: int = _setting(5, "Algorithm 2's p: the head grows by about p/2 pixels a side; authors 5.")
    temperature: float = _setting(0.02, "Temperature of the differentiable threshold.")


class StageConfig:
    """What the settings of all stages have in common."""

    steps: int
    steps_per_checkpoint: int
    batch_size: int

    def require_whole(self, replicas: int) -> None:
        """Refuses numbers that do not divide.

        Args:
          replicas: devices that share a batch.

        Raises:
          UserError: a run would not end at a checkpoint, or a replica would get no or fewer slices.
        """
        if self.steps % self.steps_per_checkpoint:
            raise commands.UserError(
                f"steps ({self.steps}) must be a multiple of steps_per_checkpoint ({self.steps_per_checkpoint})."
            )
        if self.batch_size % replicas:
            raise commands.UserError(
                f"batch_size ({self.batch_size}) must be a multiple of the number of devices ({replicas}); "
                "change it, or hide devices with CUDA_VISIBLE_DEVICES."
            )


@dataclasses.dataclass(frozen=True)
class StructureLossWeights:
    """Weights of the structure GAN's terms (method §3)."""

    code_discriminator: float = _setting(1.0, "|FD(z_g)-1|^2 + |FD(z)|^2; authors 0.1.")
    map_discriminator: float = _setting(1.0, "|D(f)-1|^2 + |D(f_g)|^2; authors 0.01.")
    code_adversarial: float = _setting(0.1, "|FD(z)-1|^2; authors 0.1.")
    map_adversarial: float = _setting(3.0, "|D(f_g)-1|^2; authors 100 (without effect in their code).")
    moments: float = _setting(0.1, "|mean(z_mean)|^2 + |mean(exp(0.5 logvar))-1|^2; authors 0.1.")
    divergence: float = _setting(
        0.0, "Kullback-Leibler divergence of the code from N(0, I), per dimension; beyond the paper."
    )
    reconstruction: float = _setting(100.0, "|f-f_r|^2, both blurred; authors 50, not blurred.")
    reconstruction_outside: float = _setting(5.0, "|f_r m|^2; authors 5.")
    mask: float = _setting(25.0, "|m-m_r|^2; authors 25.")
    flow: float = _setting(1.0, "-log p of the codes of real maps under the flow; beyond the paper.")
    mask_structure: float = _setting(5.0, "|f m_r|^2 + |f_r m_r|^2 + |f_g m_g|^2; authors 5 each.")


@dataclasses.dataclass(frozen=True)
class StructureConfig(StageConfig):
    """Structure generation (method §3)."""

    steps: int = _setting(100_000, "Training steps.")
    steps_per_checkpoint: int = _setting(1_000, "Steps between checkpoints, previews and log rows.")
    batch_size: int = _setting(16, "Global batch size, slices.")
    learning_rate: float = _setting(1e-4, "Adam's learning rate.")
    discriminator_learning_rate: float = _setting(1e-4, "Learning rate of the discriminators.")
    beta_1: float = _setting(0.5, "Adam's beta_1.")
    cosine_decay: bool = _setting(False, "Decay the learning rates by half a cosine; paper: constant.")
    match_codes: bool = _setting(
        True, "Give the noise the mean and covariance of real maps' codes before it is decoded; paper: no."
    )
    flow_couplings: int = _setting(
        6, "Couplings of the normalising flow that gives matched noise the distribution of those codes; 0 is none."
    )
    flow_learning_rate: float = _setting(1e-3, "Learning rate of the flow.")
    detail: bool = _setting(
        True, "Give the decoder noise on a grid besides the code, for edges finer than a code can say; paper: no."
    )
    reconstruction_blur: float = _setting(
        3.0,
        "Sigma of a Gaussian blur of both maps before they are compared, pixels, which leaves the finest edges to "
        "the discriminator; paper 0, none.",
    )
    match_edges: bool = _setting(True, "Give generated maps as many edges as real ones; paper: no.")
    latent_dim: int = _setting(512, "Dimensions of the latent code z; authors 4096.")
    base_filters: int = _setting(32, "Filters of the first layer of encoder and decoder.")
    max_filters: int = _setting(512, "Most filters of any layer.")
    mask_filters: int = _setting(16, "Filters of the mask generator.")
    discriminator_filters: int = _setting(64, "Filters of the first layer of the discriminators.")
    dropout: float = _setting(0.0, "Dropout rate at the encoder's input; paper 0.1.")
    discriminator_normalization: str = _setting(
        constants.SPECTRAL, "Normalisation in the discriminators: none, spectral or instance; paper: none."
    )
    mean_filter_init: bool = _setting(False, "Generators start as mean filters (paper §3.1).")
    discriminator_init_stddev: float = _setting(
        0.02, "Standard deviation of the discriminators' weights; 0 takes He's. Paper 0.2."
    )
    weights: StructureLossWeights = dataclasses.field(default_factory=StructureLossWeights)

    @property
    def has_flow(self) -> bool:
        return self.match_codes and self.flow_couplings > 0


@dataclasses.dataclass(frozen=True)
class SegmentationLossWeights:
    """Weights of the segmenters' terms (method §8), each a sum over modalities."""

    squared_error: float = _setting(0.0, "|l-l_r|^2 on one-hot channels, class weighted (the paper's only term).")
    dice: float = _setting(1.0, "Soft Dice loss; beyond the paper.")
    cross_entropy: float = _setting(1.0, "Cross-entropy; beyond the paper.")


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(StageConfig):
    """Lesion segmenters (method §8)."""

    steps: int = _setting(40_000, "Training steps of each segmenter.")
    steps_per_checkpoint: int = _setting(1_000, "Steps between checkpoints and log rows.")
    batch_size: int = _setting(8, "Global batch size, slices.")
    learning_rate: float = _setting(1e-3, "Adam's learning rate at the start.")
    beta_1: float = _setting(0.9, "Adam's beta_1; paper 0.5.")
    design: str = _setting(
        constants.SEGMENTER_PER_MODALITY, "What the modalities share: 1seg, 1ecl_4dcl or 4seg (paper §2.7)."
    )
    base_filters: int = _setting(32, "Filters of the first level of the U-Net.")
    levels: int = _setting(4, "Resolution levels of the U-Net.")
    dropout: float = _setting(0.0, "Dropout rate at the input; paper 0.1.")
    class_weights: tuple[float, ...] = _setting(
        (1.0, 1.0), "Class weights of the squared error; authors 1/15/85/85/85."
    )
    mean_filter_init: bool = _setting(False, "Segmenters start as mean filters (paper §3.1).")
    cosine_decay: bool = _setting(True, "Decay the learning rate by half a cosine; paper: constant.")
    weights: SegmentationLossWeights = dataclasses.field(default_factory=SegmentationLossWeights)


@dataclasses.dataclass(frozen=True)
class SynthesisLossWeights:
    """Weights of the modality GAN's terms (method §6)."""

    # Discriminators.
    discriminator_real: float = _setting(1.0, "sum_i |d(x_i)-1|^2; authors 50.")
    discriminator_synthetic: float = _setting(1.0, "sum_i |d(x_g,i)|^2; authors 35.")
    discriminator_translated: float = _setting(0.3, "sum_ij |d(x_t,i,j)|^2; authors 5.")
    discriminator_class: float = _setting(1.0, "class(x_i) = i, real slices; authors 50.")
    discriminator_class_synthetic: float = _setting(
        0.0, "class(x_g,i) = i in the discriminator's loss, as in the draft; authors 0."
    )
    code_discriminator: float = _setting(0.1, "FD_R: |FD(code_i)-1|^2 + |FD(code_g)|^2; authors 1.")
    # Auxiliary training on real slices.
    translation_adversarial: float = _setting(0.3, "sum_ij |d(x_t,i,j)-1|^2; authors 5.")
    translation_class: float = _setting(0.3, "sum_ij class(x_t,i,j) = j; authors 50.")
    reconstruction: float = _setting(50.0, "sum_i |x_i-x_r,i|^2; authors 5.")
    cycle: float = _setting(20.0, "sum_ij |x_i-x_cr,j,i|^2; authors 10.")
    cycle_consistency: float = _setting(2.0, "sum_ijk |x_cr,j,i-x_cr,k,i|^2; authors 2.")
    code_consistency: float = _setting(0.5, "sum_ij |code_i-code_t,i,j|^2; authors 5.")
    lesion_supervised: float = _setting(1.0, "sum_i |l_i-l_r,i|^2; trains the lesion processors alone.")
    # Synthesis.
    adversarial: float = _setting(0.3, "sum_i |d(x_g,i)-1|^2; authors 35.")
    adversarial_class: float = _setting(0.3, "sum_i class(x_g,i) = i; authors 50.")
    code_adversarial: float = _setting(0.1, "|FD(code_g)-1|^2 + |FD(code_i)|^2, two-way; authors 1.")
    structure: float = _setting(1.0, "sum_i |f-f_g,i|^2; authors 15 (without effect in their code).")
    lesion: float = _setting(1.0, "sum_i |l-l_g,i|^2, lesion processors frozen; authors 1.")
    translation: float = _setting(20.0, "sum_ij |x_g,i-x_gt,j,i|^2; authors 2.")
    code: float = _setting(0.1, "|code_g-code_g,i|^2, authors 1.")
    code_pairs: float = _setting(0.02, "sum_ij |code_g,i-code_g,j|^2; authors 0.2.")
    background: float = _setting(10.0, "sum_i |x_g,i m|^2; authors 1.5.")
    # Beyond the draft.
    contrast: float = _setting(50.0, "|contrast of x_g,i - wanted contrast|^2, where contrast is a condition.")
    # The authors' later pre-training loss.
    self_reconstruction: float = _setting(
        50.0,
        "sum_i |x_i-x_g,i|^2 from the map and label of x_i itself; authors' later version 5 + 5; 0 skips its pass.",
    )
    self_reconstruction_lesion: float = _setting(500.0, "The same within the lesion, a few per cent of the slice.")
    self_adversarial: float = _setting(0.3, "sum_i |d(x_g,i)-1|^2 of these slices.")
    self_class: float = _setting(0.3, "sum_i class(x_g,i) = i of these slices.")
    discriminator_self: float = _setting(1.0, "sum_i |d(x_g,i)|^2 of these slices, in the discriminator's loss.")


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(StageConfig):
    """Multimodal synthesis with its auxiliary training (method §5, §6)."""

    steps: int = _setting(200_000, "Training steps.")
    steps_per_checkpoint: int = _setting(1_000, "Steps between checkpoints, previews and log rows.")
    batch_size: int = _setting(4, "Global batch size, slices of each modality.")
    learning_rate: float = _setting(2e-4, "Adam's learning rate.")
    discriminator_learning_rate: float = _setting(2e-4, "Learning rate of the discriminators.")
    beta_1: float = _setting(0.5, "Adam's beta_1.")
    lesion_design: str = _setting(
        constants.SEGMENTER_PER_MODALITY,
        "What the lesion processors share: 1seg, 1ecl_4dcl or 4seg (paper §2.7); their size is that of the segmenters.",
    )
    cosine_decay: bool = _setting(True, "Decay the learning rates by half a cosine; paper: constant.")
    pretrained_lesion: bool = _setting(
        True,
        "Take the lesion processors, frozen, from the segmentation stage of the same workdir (the authors' later "
        "version); otherwise they train alongside. Paper: alongside.",
    )
    lesion_learning_rate: float = _setting(1e-3, "Learning rate of the lesion processors.")
    translation_detached: bool = _setting(
        True,
        "To the translator what was synthesised is data: its losses do not train what made it. Paper: they do.",
    )
    translation_map_share: float = _setting(
        0.85,
        "To translate a patient's slice, its own features are mixed with those of its structure map and of the lesion "
        "that segmenters find in it (or of its label); this is the share of the latter. Paper: 0.",
    )
    translation_background_weight: float = _setting(
        0.1,
        "The segmenters' probability of background counts this much there, so that lesions are drawn that they are "
        "unsure of, too; 1: where a lesion is the most probable.",
    )
    pretraining_steps: int = _setting(
        20_000,
        "So many of the steps, the first ones, only rebuild slices from their own maps and labels (the authors' later "
        "version); paper: 0.",
    )
    full_every: int = _setting(
        4,
        "Every this many-th of a step's rows goes through all of the method; the others are only rebuilt from their "
        "own maps and labels, which costs a fraction. Paper: 1.",
    )
    triples_per_slice: int = _setting(
        1, "Modality triples (i; j, k) drawn a slice to estimate the pair sums; 0 computes the exact sums."
    )
    fusion_structure: float = _setting(0.8, "w_f, the structure map's share of the fused input; authors 0.8.")
    fusion_label: float = _setting(0.2, "w_l, the label's share of the fused input; authors 0.2.")
    fusion_noise: bool = _setting(
        False, "Fill the head with uniform noise where the map has no edge (authors' later version)."
    )
    fusion_concatenate: bool = _setting(
        False, "Concatenate map and one-hot label instead of their weighted sum (authors' later version)."
    )
    erase_under_label: bool = _setting(
        True,
        "Erase the map's edges under the chosen label, and leave the lesion out of the structure loss; paper: no.",
    )
    base_filters: int = _setting(
        32, "Filters of the first level of encoders and decoder; the code has four times as many."
    )
    discriminator_filters: int = _setting(64, "Filters of the first layer of the discriminators.")
    conditional_normalization: bool = _setting(
        True, "The modality also sets scale and shift of the decoder's normalisation; paper: it is only concatenated."
    )
    skips: bool = _setting(
        True, "Features of the encoders' finer levels go to the decoder besides the code, as in a U-Net; paper: no."
    )
    contrast_condition: bool = _setting(
        True,
        "The decoder is told the contrast to give a slice: that of a real slice in training, a drawn one in sampling; "
        "paper: no.",
    )
    residual_blocks: int = _setting(2, "Residual blocks at the code's resolution, in each encoder and the decoder.")
    dropout: float = _setting(0.0, "Dropout rate at the encoders' input; paper 0.1.")
    discriminator_normalization: str = _setting(
        constants.SPECTRAL, "Normalisation in the discriminators: none, spectral or instance; paper: none."
    )
    own_class_features: bool = _setting(
        False,
        "The modality class is judged from features of its own, normalised by instance, not from those that judge "
        "real or fake: modalities become more distinct.",
    )
    softmax_class: bool = _setting(True, "Modality class by softmax cross-entropy; paper: squared error on the class.")
    mean_filter_init: bool = _setting(False, "Generators start as mean filters (paper §3.1).")
    discriminator_init_stddev: float = _setting(
        0.02, "Standard deviation of the discriminators' weights; 0 takes He's. Paper 0.2."
    )
    class_weights: tuple[float, ...] = _setting(
        (1.0, 10.0), "Class weights of the lesion losses; authors 1/10/50/50/50."
    )
    weights: SynthesisLossWeights = dataclasses.field(default_factory=SynthesisLossWeights)

    def require_whole(self, replicas: int) -> None:
        super().require_whole(replicas)
        if self.pretraining_steps and self.pretraining_steps >= self.steps:
            raise commands.UserError(
                f"pretraining_steps ({self.pretraining_steps}) are a part of steps ({self.steps}) and must be fewer."
            )
        share = self.batch_size // replicas
        if share % self.full_every:
            raise commands.UserError(
                f"full_every is {self.full_every}; a device's share of the batch ({share} rows) must be a multiple of "
                "it."
            )


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """The synthetic data set and its filters (method §4, §7)."""

    batch_size: int = _setting(32, "Samples made at a time.")
    mask_error: float = _setting(0.05, "Algorithm 3 accepts a map when mean|m'-m| is at most this; 1 accepts all.")
    max_tries: int = _setting(50, "Draws per wanted sample before giving up with an error.")
    filter_blur: float = _setting(0.8, "Sigma of Algorithm 3's 3 x 3 Gaussian blur, pixels; at least 0.3 closes gaps.")
    structure_threshold: float = _setting(0.5, "Probability from which a generated pixel is an edge.")
    dice_threshold: float = _setting(
        0.95, "Samples whose mean Dice against their label is lower are dropped; 0 keeps all. Paper 0.95."
    )
    keep_without_lesion: float = _setting(
        1.0,
        "Share of the labels without a lesion that are used; the Dice filter drops samples with one alone, so that "
        "their share shrinks otherwise. Paper 1.",
    )


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Random transforms: of labels (method §5), and of slices when classical augmentation is asked for."""

    scale: float = _setting(0.1, "Largest relative change of size.")
    rotation: float = _setting(15.0, "Largest rotation, degrees.")
    translation: float = _setting(0.04, "Largest shift, share of the image size.")
    flip: bool = _setting(True, "Mirror left to right at random.")
    intensity: float = _setting(0.0, "Change of contrast (slices only): gamma between exp(-v) and exp(v).")


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """How a training run is executed. Does not change what is learned, apart from the seed and precision."""

    seed: int = _setting(0, "Seed of weights and random streams.")
    precision: str = _setting("float32", "float32, mixed_bfloat16 or mixed_float16.")
    jit_compile: bool = _setting(False, "Compile training steps with XLA.")
    ema_decay: float = _setting(
        0.999, "Decay of the moving average of generator weights that sampling uses; 0 is none."
    )
    cache: bool = _setting(True, "Keep decoded slices in memory.")
    augment: bool = _setting(True, "Augment training slices.")
    keep_checkpoints: int = _setting(2, "Checkpoints kept.")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    structure_map: StructureMapConfig = dataclasses.field(default_factory=StructureMapConfig)
    structure: StructureConfig = dataclasses.field(default_factory=StructureConfig)
    segmentation: SegmentationConfig = dataclasses.field(default_factory=SegmentationConfig)
    synthesis: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    generation: GenerationConfig = dataclasses.field(default_factory=GenerationConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    runtime: RuntimeConfig = dataclasses.field(default_factory=RuntimeConfig)
