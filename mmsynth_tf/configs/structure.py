"""Settings of the structure stage (method §3). No TensorFlow here."""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.configs.stage import FORMULATION_HELP, StageConfig, chosen
from mmsynth_tf.configs.tree import setting


@dataclasses.dataclass(frozen=True)
class StructureLossWeights:
    """Weights of the structure GAN's loss terms (method §3); constant weights are in its module."""

    code_discriminator: float = setting(1.0, "|FD(z_g)-1|^2 + |FD(z)|^2; authors 0.1.", trains="discriminator")
    map_discriminator: float = setting(1.0, "|D(f)-1|^2 + |D(f_g)|^2; authors 0.01.", trains="discriminator")
    code_adversarial: float = setting(0.1, "|FD(z)-1|^2; authors 0.1.", trains="generator")
    map_adversarial: float = setting(
        3.0, "|D(f_g)-1|^2; authors 100 (without effect in their code).", trains="generator"
    )
    moments: float = setting(
        0.0, "|mean(z_mean)|^2 + |mean(exp(0.5 logvar))-1|^2; 0 computes neither; authors 0.1.", trains="generator"
    )
    divergence: float = setting(
        1.0,
        "Kullback-Leibler divergence of the code from N(0, I), per dimension; 0 does not compute it; beyond the paper.",
        trains="generator",
    )
    reconstruction: float = setting(100.0, "|f-f_r|^2, both blurred; authors 50, not blurred.", trains="generator")


@dataclasses.dataclass(frozen=True)
class StructureChoices:
    """In what the measured structure stage and the paper's differ.

    Attributes:
      match_codes: whether noise gets the distribution of real maps' codes before it is decoded: their mean and
        covariance, and the rest by a normalising flow.
      match_edges: whether generated maps get as many edges as real ones, by an offset on their log odds.
      position: whether maps are conditioned on the slice's position along the head.
      edges_of_picture: whether the decoder draws a picture whose edges (Algorithm 1, differentiable) are the map, so
        that edges run along the borders of areas. Otherwise the decoder draws the edges themselves.
      detail: whether the decoder gets noise on a grid besides the code, for edges finer than a code can say.
      reconstruction_blur: sigma of a Gaussian blur of both maps before they are compared, as a share of the slices'
        shorter side. It leaves the finest edges to the discriminator.
      closing: of gaps in the outlines of generated maps, see `contour_filter.mask_from_contours`.
      erase_lesion: whether the lesion's edges are erased from the maps that are learned from (§2.8).
      transform_maps: generated maps are scaled, turned and shifted at random, by up to this share of `augmentation`.
        The stage learns from upright slices, so its maps are more alike than real ones.
      dropout: rate at the encoder's input.
      mean_filter_init: whether generators start as mean filters (paper §3.1).
      augmentation: of the training slices: none or weak.
      discriminator_halvings: how often the discriminator of maps halves them; 0 follows the size of slices.
      discriminator_normalization: one of `constants.DISCRIMINATOR_NORMALIZATIONS`.
      discriminator_init_stddev: of the discriminators' weights; 0 takes He's.
    """

    match_codes: bool = True
    match_edges: bool = True
    position: bool = True
    edges_of_picture: bool = True
    detail: bool = True
    reconstruction_blur: float = 1 / 64
    closing: float = slice_sizes.CLOSING
    erase_lesion: bool = False
    transform_maps: float = 0.3
    dropout: float = 0.0
    mean_filter_init: bool = False
    augmentation: str = constants.WEAK
    discriminator_halvings: int = 0
    discriminator_normalization: str = constants.INSTANCE
    discriminator_init_stddev: float = 0.0


STRUCTURE_FORMULATIONS = {
    constants.MEASURED: StructureChoices(),
    # §2.3, §2.8 and §3.1 of the draft; the discriminators' normalisation is that of the authors' code.
    constants.PAPER: StructureChoices(
        match_codes=False,
        match_edges=False,
        position=False,
        edges_of_picture=False,
        detail=False,
        reconstruction_blur=0.0,
        closing=0.0,
        erase_lesion=True,
        transform_maps=0.0,
        dropout=0.1,
        mean_filter_init=True,
        augmentation=constants.UNCHANGED,
        discriminator_halvings=3,
        discriminator_normalization=constants.INSTANCE_EVERYWHERE,
        discriminator_init_stddev=0.2,
    ),
}


@dataclasses.dataclass(frozen=True)
class StructureConfig(StageConfig):
    """Structure generation (method §3)."""

    formulation: str = setting(constants.MEASURED, FORMULATION_HELP)
    steps: int = setting(100_000, "Training steps.")
    batch_size: int = setting(16, "Global batch size, slices.")
    learning_rate: float = setting(5e-4, "Adam's learning rate; paper 1e-4.")
    discriminator_learning_rate: float = setting(1e-3, "Learning rate of the discriminators; paper 1e-4.")
    latent_dim: int = setting(192, "Dimensions of the latent code z, see `slice_sizes.latent_dim`; authors 4096.")
    base_filters: int = setting(32, "Filters of the first layer of encoder and decoder.")
    max_filters: int = setting(512, "Most filters of any layer.")
    discriminator_filters: int = setting(64, "Filters of the first layer of the discriminators.")
    weights: StructureLossWeights = dataclasses.field(default_factory=StructureLossWeights)

    @property
    def choices(self) -> StructureChoices:
        """In what formulations differ.

        Raises:
          UserError: there is no formulation of that name.
        """
        return chosen(STRUCTURE_FORMULATIONS, self.formulation)
