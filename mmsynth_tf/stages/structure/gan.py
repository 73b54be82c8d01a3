"""Structure generation: an autoencoder with two discriminators and a mask generator (paper §2.3, method §3)."""

import math

import tensorflow as tf

from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import StructureConfig
from mmsynth_tf.models import discriminators, losses, networks
from mmsynth_tf.models.stage import Batch, Group, StageModel
from mmsynth_tf.stages.structure.code_flow import CodeFlow

# Code statistics are averages over so many steps, and over half of the steps while these are few; they start as those
# of normal codes, for the covariance of a few codes cannot be inverted.
_STATISTICS_STEPS, _STATISTICS_START = 500, 20
# Codes that the flow learns from for each encoded map.
_FLOW_DRAWS = 8
# Of the edge offset, for a difference of 1 in density: settles within some hundred steps.
_EDGE_OFFSET_RATE = 0.2


def code_dim(image_size: tuple[int, int], config: StructureConfig) -> int:
    """Random numbers that make a map: those of the code, and those of the decoder's noise."""
    return config.latent_dim + (math.prod(networks.detail_shape(image_size)) if config.detail else 0)


class StructureGAN(StageModel):
    """EC_f, DC_f, MASK, D_f and FD_f, trained together, and the flow of their codes.

    Batches hold `structure` (f) and `background` (m), float32 [B, H, W, 1], binary; and
    `noise` (eps) and `code` (z_g), float32 [B, code_dim], standard normal: L numbers for the code, the rest for the
    decoder's noise.
    """

    GENERATOR_TERMS = (
        "code_adversarial",
        "map_adversarial",
        "moments",
        "divergence",
        "reconstruction",
        "reconstruction_outside",
        "mask",
        "mask_structure",
    )

    def __init__(self, image_size: tuple[int, int], config: StructureConfig):
        super().__init__(name="structure_gan")
        self.latent_dim, self.reconstruction_blur = config.latent_dim, config.reconstruction_blur
        shape = {
            "latent_dim": config.latent_dim,
            "base_filters": config.base_filters,
            "max_filters": config.max_filters,
        }
        initializer = networks.generator_initializer(config.mean_filter_init)
        adversary = {
            "normalization": config.discriminator_normalization,
            "init_stddev": config.discriminator_init_stddev,
        }
        self.encoder = networks.structure_encoder(image_size, **shape, dropout=config.dropout, initializer=initializer)
        self.decoder = networks.structure_decoder(image_size, **shape, detail=config.detail, initializer=initializer)
        self._detail_shape = networks.detail_shape(image_size) if config.detail else None
        self.code_dim = code_dim(image_size, config)
        self.mask_generator = networks.mask_generator(
            image_size, base_filters=config.mask_filters, initializer=initializer
        )
        self.map_discriminator = discriminators.patch_discriminator(
            image_size, base_filters=config.discriminator_filters, **adversary
        )
        self.code_discriminator = discriminators.code_discriminator(config.latent_dim, **adversary)
        self.match_codes, self.match_edges = config.match_codes, config.match_edges
        # Mean and covariance of the codes of real maps, as moving averages.
        replicated = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
        self.code_mean = tf.Variable(tf.zeros([config.latent_dim]), name="code_mean", **replicated)
        self.code_covariance = tf.Variable(tf.eye(config.latent_dim), name="code_covariance", **replicated)
        self.observed_steps = tf.Variable(0.0, name="observed_steps", **replicated)
        # Added to the log odds of generated edges, so that there are as many as in real maps.
        self.edge_offset = tf.Variable(0.0, name="edge_offset", **replicated)
        self.statistics = (self.code_mean, self.code_covariance, self.observed_steps, self.edge_offset)
        self.term_weights = config.weights
        self.groups = {
            "generator": Group((self.encoder, self.decoder, self.mask_generator), self.GENERATOR_TERMS),
            "discriminator": Group(
                (self.map_discriminator, self.code_discriminator),
                ("code_discriminator", "map_discriminator"),
            ),
        }
        self.code_flow = None
        if config.has_flow:
            self.code_flow = CodeFlow(config.latent_dim, couplings=config.flow_couplings)
            self.groups["flow"] = Group((self.code_flow,), ("flow",))

    def decode(self, code: tf.Tensor) -> tf.Tensor:
        """Standard normal noise to the probability of an edge.

        Args:
          code: float32 [B, code_dim], standard normal.

        Returns:
          float32 [B, H, W, 1].
        """
        edges = self._decode(self.latent(code[:, : self.latent_dim]), code, training=False)
        odds = tf.exp(self.edge_offset)
        return edges * odds / (1.0 - edges + edges * odds)

    def _decode(self, z: tf.Tensor, noise: tf.Tensor, training: bool) -> tf.Tensor:
        """DC_f of codes [B, L], with the end of noise [B, code_dim] for detail."""
        if not self._detail_shape:
            return self.decoder(z, training=training)
        detail = tf.reshape(noise[:, self.latent_dim :], [-1, *self._detail_shape])
        return self.decoder([z, detail], training=training)

    def latent(self, code: tf.Tensor) -> tf.Tensor:
        """z_g: standard normal noise, distributed as the codes of real maps if `match_codes`.

        The code discriminator alone brings those codes near N(0, I), but not near enough for maps that look real
        (docs/experiments/structure_maps.md). Mean and covariance are those of the codes; the flow, if there is one,
        gives what is not normal about them.

        Args:
          code: float32 [B, L], standard normal.

        Returns:
          float32 [B, L].
        """
        if not self.match_codes:
            return code
        if self.code_flow:
            code = self.code_flow.inverse(code)
        return self.code_mean + tf.matmul(code, self._code_factor(), transpose_b=True)

    def _code_factor(self) -> tf.Tensor:
        return tf.linalg.cholesky(self.code_covariance + 1e-4 * tf.eye(self.latent_dim))

    def _whitened(self, z: tf.Tensor) -> tf.Tensor:
        """What `latent` makes with mean and covariance alone of z, undone."""
        deviation = tf.transpose(tf.stop_gradient(z) - self.code_mean)
        return tf.transpose(tf.linalg.triangular_solve(self._code_factor(), deviation))

    def _flow_term(self, batch: Batch, t: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if not self.code_flow:
            return {}
        # The same numbers in other dimensions are other noise.
        noise = tf.concat(
            [tf.roll(batch["noise"][:, : self.latent_dim], shift, axis=1) for shift in range(_FLOW_DRAWS)], axis=0
        )
        mean, log_var = (tf.tile(t[name], [_FLOW_DRAWS, 1]) for name in ("z_mean", "z_log_var"))
        codes = mean + tf.exp(0.5 * log_var) * noise
        return {"flow": self.code_flow.negative_log_likelihood(self._whitened(codes))}

    def observe(self, z: tf.Tensor) -> None:
        """Moves the code statistics towards those of a batch of codes of real maps, float32 [B, L]."""
        mean = losses.across_replicas(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(z, axis=0))
        deviation = z - mean
        covariance = tf.matmul(deviation, deviation, transpose_a=True) / tf.cast(tf.shape(z)[0], tf.float32)
        covariance = losses.across_replicas(tf.distribute.ReduceOp.MEAN, covariance)
        rate = tf.maximum(1.0 / _STATISTICS_STEPS, 2.0 / (_STATISTICS_START + self.observed_steps))
        for average, value in ((self.code_mean, mean), (self.code_covariance, covariance)):
            average.assign(average + rate * (tf.stop_gradient(value) - average))
        self.observed_steps.assign_add(1.0)

    def observe_edges(self, real: tf.Tensor, fake: tf.Tensor) -> None:
        """Moves the edge offset towards as many edges in generated maps as in real ones, both [B, H, W, 1]."""
        lacking = tf.reduce_mean(real) - tf.reduce_mean(tf.cast(fake >= tf.sigmoid(-self.edge_offset), tf.float32))
        lacking = losses.across_replicas(tf.distribute.ReduceOp.MEAN, lacking)
        self.edge_offset.assign_add(_EDGE_OFFSET_RATE * lacking)

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        real = batch["structure"]
        z_mean, z_log_var = self.encoder(real, training=training)
        noise, code = (batch[name][:, : self.latent_dim] for name in ("noise", "code"))
        z = z_mean + tf.exp(0.5 * z_log_var) * noise
        z_g = self.latent(code)
        if training and self.match_codes:
            self.observe(z)
        both = tf.concat([batch["noise"], batch["code"]], 0)
        decoded = self._decode(tf.concat([z, z_g], 0), both, training)
        reconstructed, fake = tf.split(decoded, 2)
        if training and self.match_edges:
            self.observe_edges(real, fake)
        mask, mask_of_fake = tf.split(self.mask_generator(tf.concat([real, fake], 0), training=training), 2)
        # Apart, for the generator's gradient goes through all of a batch, and is 0 at real maps. Spectral normalisation
        # rescales weights where it trains, once a step.
        real_scores = self.map_discriminator(real, training=training)
        fake_scores = self.map_discriminator(fake, training=False)
        code_scores, z_scores = tf.split(self.code_discriminator(tf.concat([code, z], 0), training=training), 2)
        return {
            "z_mean": z_mean,
            "z_log_var": z_log_var,
            "z": z,
            "reconstructed_structure": reconstructed,
            "fake_structure": fake,
            "mask": mask,
            "mask_of_fake": mask_of_fake,
            "real_scores": real_scores,
            "fake_scores": fake_scores,
            "normal_code_scores": code_scores,
            "encoded_code_scores": z_scores,
        }

    def loss_terms(self, batch, tensors):
        f, m, t = batch["structure"], batch["background"], tensors
        f_r, f_g = t["reconstructed_structure"], t["fake_structure"]
        return {
            "code_discriminator": losses.least_squares_real_loss(t["normal_code_scores"])
            + losses.least_squares_fake_loss(t["encoded_code_scores"]),
            "map_discriminator": losses.least_squares_real_loss(t["real_scores"])
            + losses.least_squares_fake_loss(t["fake_scores"]),
            "code_adversarial": losses.least_squares_real_loss(t["encoded_code_scores"]),
            "map_adversarial": losses.least_squares_real_loss(t["fake_scores"]),
            "moments": losses.moments_loss(t["z_mean"], t["z_log_var"]),
            "divergence": losses.divergence_loss(t["z_mean"], t["z_log_var"]),
            "reconstruction": losses.squared_error(
                *(structure_maps.gaussian_blur(x, self.reconstruction_blur) for x in (f, f_r))
            ),
            "reconstruction_outside": losses.squared_error(f_r * m),
            "mask": losses.squared_error(m, t["mask"]),
            "mask_structure": losses.squared_error(f * t["mask"])
            + losses.squared_error(f_r * t["mask"])
            + losses.squared_error(f_g * t["mask_of_fake"]),
            **self._flow_term(batch, t),
        }


BACKGROUND_THRESHOLD = 0.5


def sample_maps(structure_gan: StructureGAN, code: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes codes.

    Args:
      structure_gan: trained.
      code: float32 [B, L], standard normal.
      threshold: probability from which a pixel is an edge.

    Returns:
      Probability of an edge, and of background given the binary map; each float32 [B, H, W, 1].
    """
    structure = structure_gan.decode(code)
    return structure, structure_gan.mask_generator(_at_least(structure, threshold), training=False)


def binary_maps(structure: tf.Tensor, background: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes both probabilities of `sample_maps` binary: float32 [B, H, W, 1], {0, 1}."""
    return _at_least(structure, threshold), _at_least(background, BACKGROUND_THRESHOLD)


def _at_least(probability: tf.Tensor, threshold: float) -> tf.Tensor:
    return tf.cast(probability >= threshold, tf.float32)
