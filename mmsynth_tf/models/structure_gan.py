"""Structure generation: an autoencoder with two discriminators and a mask generator (paper §2.3, method §3)."""

import tensorflow as tf

from mmsynth_tf.configs import StructureConfig
from mmsynth_tf.models import losses, networks
from mmsynth_tf.models.stage import Batch, Group, StageModel

_STATISTICS_DECAY = 0.99


class StructureGAN(StageModel):
    """EC_f, DC_f, MASK, D_f and FD_f, trained together.

    Batches hold `structure` (f) and `background` (m), float32 [B, H, W, 1], binary; and
    `noise` (eps) and `code` (z_g), float32 [B, L], standard normal.
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
        self.latent_dim = config.latent_dim
        shape = {
            "latent_dim": config.latent_dim,
            "base_filters": config.base_filters,
            "max_filters": config.max_filters,
        }
        initializer = networks.generator_initializer(config.mean_filter_init)
        adversary = {
            "spectral_normalization": config.spectral_normalization,
            "init_stddev": config.discriminator_init_stddev,
        }
        self.encoder = networks.structure_encoder(image_size, **shape, dropout=config.dropout, initializer=initializer)
        self.decoder = networks.structure_decoder(image_size, **shape, initializer=initializer)
        self.mask_generator = networks.mask_generator(
            image_size, base_filters=config.mask_filters, initializer=initializer
        )
        self.map_discriminator = networks.patch_discriminator(
            image_size, base_filters=config.discriminator_filters, **adversary
        )
        self.code_discriminator = networks.code_discriminator(config.latent_dim, **adversary)
        self.match_codes = config.match_codes
        # Mean and covariance of the codes of real maps, as moving averages.
        replicated = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
        self.code_mean = tf.Variable(tf.zeros([config.latent_dim]), name="code_mean", **replicated)
        self.code_covariance = tf.Variable(tf.eye(config.latent_dim), name="code_covariance", **replicated)
        self.statistics = (self.code_mean, self.code_covariance)
        self.term_weights = config.weights
        self.groups = {
            "generator": Group((self.encoder, self.decoder, self.mask_generator), self.GENERATOR_TERMS),
            "discriminator": Group(
                (self.map_discriminator, self.code_discriminator),
                ("code_discriminator", "map_discriminator"),
            ),
        }

    def decode(self, code: tf.Tensor) -> tf.Tensor:
        """Standard normal noise to the probability of an edge.

        Args:
          code: float32 [B, L], standard normal.

        Returns:
          float32 [B, H, W, 1].
        """
        return self.decoder(self.latent(code), training=False)

    def latent(self, code: tf.Tensor) -> tf.Tensor:
        """z_g: standard normal noise, with the mean and covariance of the codes of real maps if `match_codes`.

        The code discriminator alone brings those codes near N(0, I), but not near enough for maps that look
        real (BUILD_NOTES.md, "Tried").

        Args:
          code: float32 [B, L], standard normal.

        Returns:
          float32 [B, L].
        """
        if not self.match_codes:
            return code
        factor = tf.linalg.cholesky(self.code_covariance + 1e-4 * tf.eye(self.latent_dim))
        return self.code_mean + tf.matmul(code, factor, transpose_b=True)

    def observe(self, z: tf.Tensor) -> None:
        """Moves the code statistics towards those of a batch of codes of real maps, float32 [B, L]."""
        mean = losses.across_replicas(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(z, axis=0))
        deviation = z - mean
        covariance = tf.matmul(deviation, deviation, transpose_a=True) / tf.cast(tf.shape(z)[0], tf.float32)
        covariance = losses.across_replicas(tf.distribute.ReduceOp.MEAN, covariance)
        for average, value in ((self.code_mean, mean), (self.code_covariance, covariance)):
            average.assign(average + (1.0 - _STATISTICS_DECAY) * (tf.stop_gradient(value) - average))

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        real = batch["structure"]
        z_mean, z_log_var = self.encoder(real, training=training)
        z = z_mean + tf.exp(0.5 * z_log_var) * batch["noise"]
        z_g = self.latent(batch["code"])
        if training and self.match_codes:
            self.observe(z)
        decoded = self.decoder(tf.concat([z, z_g], 0), training=training)
        reconstructed, fake = tf.split(decoded, 2)
        mask, mask_of_fake = tf.split(self.mask_generator(tf.concat([real, fake], 0), training=training), 2)
        real_scores, fake_scores = tf.split(self.map_discriminator(tf.concat([real, fake], 0), training=training), 2)
        code_scores, z_scores = tf.split(
            self.code_discriminator(tf.concat([batch["code"], z], 0), training=training), 2
        )
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
            "reconstruction": losses.squared_error(f, f_r),
            "reconstruction_outside": losses.squared_error(f_r * m),
            "mask": losses.squared_error(m, t["mask"]),
            "mask_structure": losses.squared_error(f * t["mask"])
            + losses.squared_error(f_r * t["mask"])
            + losses.squared_error(f_g * t["mask_of_fake"]),
        }
