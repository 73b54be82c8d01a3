"""Structure generation: an autoencoder with two discriminators and a mask generator (paper §2.3, method §3)."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import StructureConfig, StructureMapConfig, slice_sizes
from mmsynth_tf.configs.stage import weights_by_group
from mmsynth_tf.models import discriminators, losses, networks
from mmsynth_tf.models.stage import Batch, Group, StageModel, with_gradient_for
from mmsynth_tf.stages.structure.code_flow import CodeFlow

# Window of the moving averages of the code statistics, steps. Early in training the window is half the steps so far.
# They start at N(0, I), because the covariance of a few codes is singular.
_STATISTICS_STEPS, _STATISTICS_START = 500, 20
# Couplings of the flow, and codes drawn for its training from each encoded map.
_FLOW_COUPLINGS, _FLOW_DRAWS = 6, 8
# Cosines that a position is described by: smooth along the head, and finer than a tenth of it.
_POSITION_WAVES = 4
# Step of the edge offset for a difference of 1 in edge density: the offset converges within some hundred steps.
_EDGE_OFFSET_RATE = 0.2
# Probabilities from which a generated pixel counts as edge, and as background.
STRUCTURE_THRESHOLD, BACKGROUND_THRESHOLD = 0.5, 0.5
# Filters of the mask generator's first layer.
_MASK_FILTERS = 16
# Weights of the terms that keep edges and background apart: the authors' values; no measurement suggested others.
# |f_r m|^2; |m - m_r|^2; |f m_r|^2 + |f_r m_r|^2 + |f_g m_g|^2.
_MASK_WEIGHTS = {"reconstruction_outside": 5.0, "mask": 25.0, "mask_structure": 5.0}


def code_dim(image_size: tuple[int, int], config: StructureConfig) -> int:
    """Number of random values from which a map is generated: the code and the decoder's noise."""
    return config.latent_dim + (math.prod(networks.detail_shape(image_size)) if config.choices.detail else 0)


class StructureGAN(StageModel):
    """EC_f, DC_f, MASK, D_f and FD_f, trained together, and the normalising flow of the codes.

    Batches hold `structure` (f) and `background` (m), float32 [B, H, W, 1], binary;
    `position`, float32 [B], 0 at the head's lowest slice and 1 at its highest; and
    `noise` (eps) and `code` (z_g), float32 [B, code_dim], standard normal. The first L values are for the code, the
    rest for the decoder's noise.

    If the choices say so, all networks but MASK are conditioned on the position, and the flow is. The encoder and the
    code discriminator then free codes of it, so that one code describes a head at all positions.
    """

    def __init__(self, image_size: tuple[int, int], config: StructureConfig, structure_map: StructureMapConfig):
        super().__init__(name="structure_gan")
        self._structure_map = structure_map
        self.latent_dim, self.choices = config.latent_dim, config.choices
        self.code_dim = code_dim(image_size, config)
        self._waves = np.pi * np.arange(1, 1 + _POSITION_WAVES * self.choices.position, dtype=np.float32)
        self._detail_shape = networks.detail_shape(image_size) if self.choices.detail else None
        self._reconstruction_blur = self.choices.reconstruction_blur * min(image_size)
        self._build_generators(image_size, config)
        adversary = {
            "normalization": self.choices.discriminator_normalization,
            "init_stddev": self.choices.discriminator_init_stddev,
        }
        self.map_discriminator = discriminators.patch_discriminator(
            image_size,
            base_filters=config.discriminator_filters,
            channels=1 + len(self._waves),
            halvings=self.choices.discriminator_halvings or slice_sizes.discriminator_halvings(image_size),
            **adversary,
        )
        self.code_discriminator = discriminators.code_discriminator(config.latent_dim + len(self._waves), **adversary)
        self._build_statistics()
        weights = weights_by_group(config.weights)
        generators = self.encoder, self.decoder, self.mask_generator
        self.groups = {
            "generator": Group(generators, weights["generator"] | _MASK_WEIGHTS),
            "discriminator": Group((self.map_discriminator, self.code_discriminator), weights["discriminator"]),
        }
        self.code_flow = None
        if self.choices.match_codes:
            self.code_flow = CodeFlow(config.latent_dim, couplings=_FLOW_COUPLINGS, condition_size=len(self._waves))
            # No other term trains the flow, so the value of its weight does not matter.
            self.groups["flow"] = Group((self.code_flow,), {"flow": 1.0})

    def _build_generators(self, image_size: tuple[int, int], config: StructureConfig) -> None:
        initializer = networks.generator_initializer(self.choices.mean_filter_init)
        shape = {
            "base_filters": config.base_filters,
            "max_filters": config.max_filters,
            "initializer": initializer,
        }
        latent_dim, size = config.latent_dim, len(self._waves)
        self.encoder = networks.structure_encoder(
            image_size, latent_dim=latent_dim, channels=1 + size, dropout=self.choices.dropout, **shape
        )
        self.decoder = networks.structure_decoder(
            image_size, latent_dim=latent_dim + size, detail=self.choices.detail, **shape
        )
        self.mask_generator = networks.mask_generator(image_size, base_filters=_MASK_FILTERS, initializer=initializer)

    def _build_statistics(self) -> None:
        replicated = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
        # Mean and covariance of the codes of real maps, as moving averages.
        self.code_mean = tf.Variable(tf.zeros([self.latent_dim]), name="code_mean", **replicated)
        self.code_covariance = tf.Variable(tf.eye(self.latent_dim), name="code_covariance", **replicated)
        self.observed_steps = tf.Variable(0.0, name="observed_steps", **replicated)
        # Added to the logits of generated edges, so that their density matches that of real maps.
        self.edge_offset = tf.Variable(0.0, name="edge_offset", **replicated)
        self.statistics = (self.code_mean, self.code_covariance, self.observed_steps, self.edge_offset)

    def sample(self, code: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes codes.

        Args:
          code: float32 [B, code_dim], standard normal.
          position: float32 [B], along the head; without effect on a model that is not conditioned on it.

        Returns:
          Probability of an edge, and of background given the binary map; each float32 [B, H, W, 1].
        """
        structure = self.decode(code, position)
        return structure, self.mask_generator(_at_least(structure, STRUCTURE_THRESHOLD), training=False)

    def sample_binary(self, code: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `sample`, but the map and the background are binary: float32 [B, H, W, 1], {0, 1}.

        The mask generator leaves specks beside heads and holes in them. Parts of the head without an edge become
        background, and holes become head where they are head in real slices (Algorithm 2).
        """
        structure, background = self.sample(code, position)
        structure, background = _at_least(structure, STRUCTURE_THRESHOLD), _at_least(background, BACKGROUND_THRESHOLD)
        head = structure_maps.connected_to(structure, 1.0 - background)
        return structure, structure_maps.background_mask(head, fill_holes=self._structure_map.fill_holes)

    def decode(self, code: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Standard normal noise to the probability of an edge.

        Args:
          code: float32 [B, code_dim], standard normal.
          position: float32 [B], as in `sample`.

        Returns:
          float32 [B, H, W, 1].
        """
        condition = self.condition(position)
        z = self.latent(code[:, : self.latent_dim], condition)
        edges = self._decode(z, condition, code, training=False)
        odds = tf.exp(self.edge_offset)
        return edges * odds / (1.0 - edges + edges * odds)

    def condition(self, position: tf.Tensor) -> tf.Tensor:
        """What networks get of positions: float32 [B] to [B, C]; C is 0 if nothing is conditioned on them."""
        # Slices of the head alone are learned from; beyond it cosines would repeat the head.
        return tf.cos(tf.clip_by_value(position, 0.0, 1.0)[:, None] * self._waves)

    def _decode(self, z: tf.Tensor, condition: tf.Tensor, noise: tf.Tensor, training: bool) -> tf.Tensor:
        """DC_f of codes [B, L]; the values of noise [B, code_dim] after the first L are the noise for detail."""
        inputs = [tf.concat([z, condition], axis=1)]
        if self._detail_shape:
            inputs.append(tf.reshape(noise[:, self.latent_dim :], [-1, *self._detail_shape]))
        drawn = self.decoder(inputs, training=training)
        return structure_maps.soft_structure_map(drawn, self._structure_map) if self.choices.edges_of_picture else drawn

    def latent(self, code: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        """z_g: standard normal noise, distributed as the codes of real maps if the choices match codes.

        The code discriminator brings those codes near N(0, I), but not near enough for realistic maps
        (docs/experiments/structure_maps.md). An affine map sets their mean and covariance; the flow models how they
        deviate from a normal distribution, and how they depend on the position.

        Args:
          code: float32 [B, L], standard normal.
          condition: float32 [B, C], see `condition`.

        Returns:
          float32 [B, L].
        """
        if not self.code_flow:
            return code
        code = self.code_flow.inverse(code, condition)
        return self.code_mean + tf.matmul(code, self._code_factor(), transpose_b=True)

    def _code_factor(self) -> tf.Tensor:
        return tf.linalg.cholesky(self.code_covariance + 1e-4 * tf.eye(self.latent_dim))

    def _whitened(self, z: tf.Tensor) -> tf.Tensor:
        """Inverse of `latent` without the flow: codes [B, L] to mean 0 and unit covariance."""
        deviation = tf.transpose(tf.stop_gradient(z) - self.code_mean)
        return tf.transpose(tf.linalg.triangular_solve(self._code_factor(), deviation))

    def _flow_loss(self, batch: Batch, t: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """-log p of the codes of real maps under the flow; beyond the paper."""
        # Rolling the dimensions of the noise gives further noise without further random numbers.
        noise = tf.concat(
            [tf.roll(batch["noise"][:, : self.latent_dim], shift, axis=1) for shift in range(_FLOW_DRAWS)], axis=0
        )
        mean, log_var = (tf.tile(t[name], [_FLOW_DRAWS, 1]) for name in ("z_mean", "z_log_var"))
        codes = mean + tf.exp(0.5 * log_var) * noise
        condition = tf.tile(t["condition"], [_FLOW_DRAWS, 1])
        return self.code_flow.negative_log_likelihood(self._whitened(codes), condition)

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
        """Updates the edge offset towards equal edge density in real and generated maps, both [B, H, W, 1]."""
        lacking = tf.reduce_mean(real) - tf.reduce_mean(tf.cast(fake >= tf.sigmoid(-self.edge_offset), tf.float32))
        lacking = losses.across_replicas(tf.distribute.ReduceOp.MEAN, lacking)
        self.edge_offset.assign_add(_EDGE_OFFSET_RATE * lacking)

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        real, condition = batch["structure"], self.condition(batch["position"])
        z_mean, z_log_var = self.encoder(_beside(real, condition), training=training)
        noise, code = (batch[name][:, : self.latent_dim] for name in ("noise", "code"))
        z = z_mean + tf.exp(0.5 * z_log_var) * noise
        z_g = self.latent(code, condition)
        if training and self.choices.match_codes:
            self.observe(z)
        both, twice = tf.concat([batch["noise"], batch["code"]], 0), tf.concat([condition, condition], 0)
        decoded = self._decode(tf.concat([z, z_g], 0), twice, both, training)
        reconstructed, fake = tf.split(decoded, 2)
        if training and self.choices.match_edges:
            self.observe_edges(real, fake)
        mask, mask_of_fake = tf.split(self.mask_generator(tf.concat([real, fake], 0), training=training), 2)
        # Separate calls for real and generated maps: one call would back-propagate through the real half in vain.
        # Only the first call runs with training=True, so spectral normalisation updates once a step.
        real_scores = self.map_discriminator(_beside(real, condition), training=training)
        judged = _beside(with_gradient_for("generator", fake), condition)
        fake_scores = self.map_discriminator(judged, training=False)
        codes = tf.concat([tf.concat([code, with_gradient_for("generator", z)], 0), twice], 1)
        code_scores, z_scores = tf.split(self.code_discriminator(codes, training=training), 2)
        return {
            "condition": condition,
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

    def formulas(self, batch, tensors):
        f, m, t = batch["structure"], batch["background"], tensors
        f_r, f_g, m_r, m_g = (t[n] for n in ("reconstructed_structure", "fake_structure", "mask", "mask_of_fake"))
        real, fake = losses.least_squares_real_loss, losses.least_squares_fake_loss
        return {
            "code_discriminator": lambda: real(t["normal_code_scores"]) + fake(t["encoded_code_scores"]),
            "map_discriminator": lambda: real(t["real_scores"]) + fake(t["fake_scores"]),
            "code_adversarial": lambda: real(t["encoded_code_scores"]),
            "map_adversarial": lambda: real(t["fake_scores"]),
            "moments": lambda: losses.moments_loss(t["z_mean"], t["z_log_var"]),
            "divergence": lambda: losses.divergence_loss(t["z_mean"], t["z_log_var"]),
            "reconstruction": lambda: losses.squared_error(self._blurred(f), self._blurred(f_r)),
            "reconstruction_outside": lambda: losses.squared_error(f_r * m),
            "mask": lambda: losses.squared_error(m, m_r),
            "mask_structure": lambda: (
                losses.squared_error(f * m_r) + losses.squared_error(f_r * m_r) + losses.squared_error(f_g * m_g)
            ),
            "flow": lambda: self._flow_loss(batch, t),
        }

    def _blurred(self, maps: tf.Tensor) -> tf.Tensor:
        return structure_maps.gaussian_blur(maps, self._reconstruction_blur)


def _beside(maps: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """Maps [B, H, W, 1] with a channel for each value of their conditions [B, C]: [B, H, W, 1 + C]."""
    return tf.concat([maps, tf.ones_like(maps) * condition[:, None, None]], axis=-1)


def _at_least(probability: tf.Tensor, threshold: float) -> tf.Tensor:
    return tf.cast(probability >= threshold, tf.float32)
