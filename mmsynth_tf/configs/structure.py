"""Settings of the structure stage (method §3). No TensorFlow here."""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.stage import StageConfig
from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class StructureLossWeights:
    """Weights of the structure GAN's terms (method §3)."""

    code_discriminator: float = setting(1.0, "|FD(z_g)-1|^2 + |FD(z)|^2; authors 0.1.")
    map_discriminator: float = setting(1.0, "|D(f)-1|^2 + |D(f_g)|^2; authors 0.01.")
    code_adversarial: float = setting(0.1, "|FD(z)-1|^2; authors 0.1.")
    map_adversarial: float = setting(3.0, "|D(f_g)-1|^2; authors 100 (without effect in their code).")
    moments: float = setting(0.1, "|mean(z_mean)|^2 + |mean(exp(0.5 logvar))-1|^2; authors 0.1.")
    divergence: float = setting(
        0.0, "Kullback-Leibler divergence of the code from N(0, I), per dimension; beyond the paper."
    )
    reconstruction: float = setting(100.0, "|f-f_r|^2, both blurred; authors 50, not blurred.")
    reconstruction_outside: float = setting(5.0, "|f_r m|^2; authors 5.")
    mask: float = setting(25.0, "|m-m_r|^2; authors 25.")
    flow: float = setting(1.0, "-log p of the codes of real maps under the flow; beyond the paper.")
    mask_structure: float = setting(5.0, "|f m_r|^2 + |f_r m_r|^2 + |f_g m_g|^2; authors 5 each.")


@dataclasses.dataclass(frozen=True)
class StructureConfig(StageConfig):
    """Structure generation (method §3)."""

    steps: int = setting(100_000, "Training steps.")
    steps_per_checkpoint: int = setting(1_000, "Steps between checkpoints, previews and log rows.")
    batch_size: int = setting(16, "Global batch size, slices.")
    learning_rate: float = setting(1e-4, "Adam's learning rate.")
    discriminator_learning_rate: float = setting(1e-4, "Learning rate of the discriminators.")
    beta_1: float = setting(0.5, "Adam's beta_1.")
    cosine_decay: bool = setting(False, "Decay the learning rates by half a cosine; paper: constant.")
    match_codes: bool = setting(
        True, "Give the noise the mean and covariance of real maps' codes before it is decoded; paper: no."
    )
    flow_couplings: int = setting(
        6, "Couplings of the normalising flow that gives matched noise the distribution of those codes; 0 is none."
    )
    flow_learning_rate: float = setting(1e-3, "Learning rate of the flow.")
    detail: bool = setting(
        True, "Give the decoder noise on a grid besides the code, for edges finer than a code can say; paper: no."
    )
    reconstruction_blur: float = setting(
        3.0,
        "Sigma of a Gaussian blur of both maps before they are compared, pixels, which leaves the finest edges to "
        "the discriminator; paper 0, none.",
    )
    match_edges: bool = setting(True, "Give generated maps as many edges as real ones; paper: no.")
    upright: bool = setting(
        True,
        "Learn from slices that are mirrored at most, whatever else `augmentation` asks for; paper: as they are.",
    )
    erase_lesion: bool = setting(
        False, "Erase the lesion's edges from the maps that are learned from; paper: yes (§2.8)."
    )
    latent_dim: int = setting(512, "Dimensions of the latent code z; authors 4096.")
    base_filters: int = setting(32, "Filters of the first layer of encoder and decoder.")
    max_filters: int = setting(512, "Most filters of any layer.")
    mask_filters: int = setting(16, "Filters of the mask generator.")
    discriminator_filters: int = setting(64, "Filters of the first layer of the discriminators.")
    dropout: float = setting(0.0, "Dropout rate at the encoder's input; paper 0.1.")
    discriminator_normalization: str = setting(
        constants.SPECTRAL,
        "Normalisation in the discriminators: none, spectral, instance (of slices and maps, after their first layer) "
        "or instance_everywhere (of codes and in first layers, too); authors: the last.",
    )
    mean_filter_init: bool = setting(False, "Generators start as mean filters (paper §3.1).")
    discriminator_init_stddev: float = setting(
        0.02, "Standard deviation of the discriminators' weights; 0 takes He's. Paper 0.2."
    )
    weights: StructureLossWeights = dataclasses.field(default_factory=StructureLossWeights)

    @property
    def has_flow(self) -> bool:
        return self.match_codes and self.flow_couplings > 0
