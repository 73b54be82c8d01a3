"""Multimodal synthesis with its auxiliary training (paper §2.4-§2.7, method §5, §6).

Axes: B slices, n modalities, P ordered pairs of modalities (see `pairs.py`).
Everything that goes through one network in a round goes as one batch.
"""

import tensorflow as tf

from mmsynth_tf.algorithms import fusion, guided_filter, structure_maps
from mmsynth_tf.configs import DataConfig, StructureMapConfig, SynthesisConfig
from mmsynth_tf.models import discriminators, networks, passes
from mmsynth_tf.models.stage import Batch, Group, StageModel
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor
from mmsynth_tf.stages.synthesis import contrast, pairs
from mmsynth_tf.stages.synthesis.losses import LESION_TERMS, ModalityLosses

# Pixels over which a translated lesion becomes its surroundings.
_LESION_BORDER = 1.0


class ModalityGAN(StageModel):
    """EC_R, EC_M, DC_M, D_M, FD_R and the lesion processors, trained together.

    Batches hold
      `image`: float32 [B, n, H, W, 1], slices x_i; those of one row need not belong together. Of the rows every
        `config.full_every`-th goes through all of the method; all are rebuilt from their own maps.
      `label`: integer [B, n, H, W, 1], their labels l_i.
      `own_structure` and `own_background`: float32 [B, n, H, W, 1], maps of these slices without their lesions'
        edges, and their masks.
      `structure`: float32 [B, H, W, 1], f: one of those maps, by default without what lies under the chosen label.
      `background`: float32 [B, H, W, 1], m.
      `fusion_label`: integer [B, H, W, 1], l, which fits the map.
      `pair_source` and `pair_target`: int32 [B, P], the ordered modality pairs of the step; runs of
        `pairs.run_length` share their source.
      `noise`: float32 [B, H, W, 1] uniform in [0, 1), where the configuration fuses noise.
      `judged_contrast`: float32 [B, 3 n + P, 2] uniform in [0, 1), where slices are judged in other contrasts: a draw
        for every slice of a row that D_M sees; see `contrast.vary`.
      `contrast`: float32 [B, n, S] standard normal, where contrast is a condition: what synthesis is to have, in
        standard deviations from the mean of real slices; see `contrast.py`.
    """

    def __init__(
        self,
        data: DataConfig,
        structure_map: StructureMapConfig,
        config: SynthesisConfig,
        lesion_processor: LesionProcessor,
    ):
        super().__init__(name="modality_gan")
        self.num_modalities, self.num_classes = data.num_modalities, data.num_classes
        self.structure_map_config, self.config = structure_map, config
        channels = self.num_classes + (1 if config.fusion_concatenate else 0)
        generator = {
            "base_filters": config.base_filters,
            "residual_blocks": config.residual_blocks,
            "skips": config.skips,
            "initializer": networks.generator_initializer(config.mean_filter_init),
        }
        adversary = {
            "base_filters": config.discriminator_filters,
            "normalization": config.discriminator_normalization,
            "init_stddev": config.discriminator_init_stddev,
        }
        size = data.image_size
        self.fusion_encoder = networks.image_encoder(
            size, channels, dropout=config.dropout, name="fusion_encoder", **generator
        )
        self.image_encoder = networks.image_encoder(size, 1, dropout=config.dropout, **generator)
        code_shape = tuple(tf.nest.flatten(self.image_encoder.outputs)[0].shape[1:])
        self.decoder = networks.image_decoder(
            code_shape,
            self.num_modalities,
            contrast_size=contrast.size(self.num_classes) if config.contrast_condition else 0,
            conditional_normalization=config.conditional_normalization,
            **generator,
        )
        self.contrast_scale = None
        if config.contrast_condition:
            self.contrast_scale = contrast.ContrastScale(self.num_modalities, self.num_classes)
            self.statistics = self.contrast_scale.averages
        self.discriminator = discriminators.patch_discriminator(
            size,
            class_outputs=self.num_modalities if config.softmax_class else 1,
            own_class_features=config.own_class_features,
            **adversary,
        )
        self.feature_discriminator = discriminators.feature_discriminator(code_shape, **adversary)
        self.lesion_processor = lesion_processor
        self.step_losses = ModalityLosses(
            self.num_modalities, self.num_classes, structure_map, config, self.contrast_scale
        )
        generating = self.fusion_encoder, self.image_encoder, self.decoder
        judging = self.discriminator, self.feature_discriminator
        self.groups = {
            "generator": Group(generating, _weights(config, self.step_losses.generator_terms)),
            "discriminator": Group(judging, _weights(config, self.step_losses.discriminator_terms)),
        }
        if config.pretrained_lesion:
            self.frozen_networks = lesion_processor.networks
        else:
            self.groups["lesion"] = Group(lesion_processor.networks, _weights(config, LESION_TERMS))

    def fused_input(self, batch: Batch) -> tf.Tensor:
        """The fusion encoder's input, float32 [B, H, W, C], from `structure`, `background` and `fusion_label`."""
        structure_map = batch["structure"]
        if self.config.fusion_noise:
            structure_map = fusion.noise_fill(structure_map, batch["background"], batch["noise"])
        return fusion.fuse(
            structure_map,
            batch["fusion_label"],
            self.num_classes,
            structure_weight=self.config.fusion_structure,
            label_weight=self.config.fusion_label,
            concatenate=self.config.fusion_concatenate,
        )

    def _own_fused_input(self, batch: Batch) -> tf.Tensor:
        """The same from each slice's own map and label: float32 [B, n, H, W, C]."""
        n = self.num_modalities
        own = {
            "structure": batch["own_structure"],
            "background": batch["own_background"],
            "fusion_label": batch["label"],
        }
        own = {name: passes.merge(value) for name, value in own.items()}
        if self.config.fusion_noise:
            own["noise"] = tf.repeat(batch["noise"], n, axis=0)
        fused = self.fused_input(own)
        return tf.reshape(fused, [-1, n, *fused.shape[1:]])

    def synthesize(self, batch: Batch) -> tf.Tensor:
        """Map and label to all modalities.

        Args:
          batch: `structure`, `background`, `fusion_label`, if noise is fused `noise`, and if contrast is a condition
            `contrast`.

        Returns:
          float32 [B, n, H, W, 1] in [0, 1], 0 outside the head.
        """
        (features,) = self._encode(self.fusion_encoder, [self.fused_input(batch)[:, None]], training=False)
        features = self._for_each_modality(features)
        request = features, self._modalities(features[0]), self._asked_contrast(batch)
        (images,) = self._decode([request], training=False)
        return images * (1.0 - batch["background"][:, None])

    def translate(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        """Translates slices.

        Args:
          images: float32 [B, H, W, 1], of any modality.
          target: int32 [B], the modality wanted of each.
          label: integer [B, H, W, 1], the lesions of `images`, annotated or as a segmenter finds them; needed where
            `config.translation_map_share` is not 0.

        Returns:
          float32 [B, H, W, 1] in [0, 1], 0 where the head of `images` ends.

        Raises:
          ValueError: a label is needed.
        """
        translated = self._drawn_translation(images, target, label)
        share, radius = self.config.translation_guide_share, self.config.translation_guide_radius
        if not share:
            return translated
        lesion = tf.zeros_like(images) if label is None else tf.cast(label > 0, tf.float32)
        head = 1.0 - structure_maps.background_mask(images)
        guided = guided_filter.guided_filter(translated, images, head * (1.0 - lesion), radius)
        # Lesions stay as they are drawn, for not every modality shows all of a lesion; around them this fades out.
        share *= 1.0 - tf.minimum(2.0 * structure_maps.gaussian_blur(lesion, _LESION_BORDER), 1.0)
        return head * ((1.0 - share) * translated + share * tf.clip_by_value(guided, 0.0, 1.0))

    def _drawn_translation(self, images: tf.Tensor, target: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
        """What the networks make of `translate`'s arguments."""
        (own,) = self._encode(self.image_encoder, [images[:, None]], training=False)
        # Nothing tells the contrast of the patient's other modalities: the mean one.
        contrasts = self._mean_contrast(tf.shape(images)[0])
        if not self.config.translation_map_share:
            return self._translation(images, own, target, contrasts)
        if label is None:
            raise ValueError("This model draws lesions into its translations: give their label, zeros where none is.")
        label, edges, background = fusion.own_map(images, label, self.structure_map_config)
        features = self._mixed(own, label, edges, background)
        translated = self._translation(images, features, target, contrasts)
        if emphasis := self.config.translation_lesion_emphasis:
            healthy = self._mixed(own, tf.zeros_like(label), edges, background)
            without = self._translation(images, healthy, target, contrasts)
            with_lesion, present = contrast.describe(translated, label, background, self.num_classes)
            without_it, _ = contrast.describe(without, label, background, self.num_classes)
            direction = self.contrast_scale.direction(with_lesion - without_it, target) * present
            translated = self._translation(images, features, target, contrasts + emphasis * direction[:, None])
        return translated

    def _translation(
        self, images: tf.Tensor, features: tuple[tf.Tensor, ...], target: tf.Tensor, contrasts: tf.Tensor | None
    ) -> tf.Tensor:
        """Slices [B, H, W, 1] of the modalities `target` from features [B, 1, ...], 0 where `images` are."""
        (translated,) = self._decode([(features, target[:, None], contrasts)], training=False)
        return translated[:, 0] * (1.0 - structure_maps.background_mask(images))

    def _mixed(
        self, own: tuple[tf.Tensor, ...], label: tf.Tensor, edges: tf.Tensor, background: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Features of slices mixed with those of their maps [B, H, W, 1] and lesions: [B, 1, ...] as `_encode`."""
        fused = {"fusion_label": label, "structure": edges, "background": background}
        if self.config.fusion_noise:
            fused["noise"] = tf.fill(tf.shape(edges), 0.5)  # Its mean: a translation is not drawn.
        (of_map,) = self._encode(self.fusion_encoder, [self.fused_input(fused)[:, None]], training=False)
        share = self.config.translation_map_share
        return tuple((1.0 - share) * a + share * b for a, b in zip(own, of_map, strict=True))

    @property
    def pretraining_steps(self) -> int:
        return self.config.pretraining_steps if self.step_losses.reconstructs_itself else 0

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        if self.in_pretraining:
            return self._forward_from_own_maps(batch, training)
        every_row, batch = batch, self._full_rows(batch)
        real, source, target = batch["image"], batch["pair_source"], batch["pair_target"]
        modalities = self._modalities(real)
        (features,) = self._encode(self.image_encoder, [real], training)
        fused = [self.fused_input(batch)[:, None]]
        if self.step_losses.reconstructs_itself:
            fused.append(self._own_fused_input(every_row))
        fusion_features, *own_features = self._encode(self.fusion_encoder, fused, training)
        code, fusion_code = features[0], fusion_features[0]  # [B, n, h, w, C] and [B, 1, h, w, C]

        # First round: reconstruct, translate, synthesise.
        source_features = passes.gather(features, source)
        every_contrast, asked_contrast = self._real_contrast(every_row, training), self._asked_contrast(batch)
        real_contrast = self._thinned(every_contrast)
        contrast_of_source, contrast_of_target = (passes.gather(real_contrast, pair) for pair in (source, target))
        requests = [
            (features, modalities, real_contrast),
            # Slices are unregistered, so a translation has the contrast of another slice of the target modality.
            (source_features, target, contrast_of_target),
            (self._for_each_modality(fusion_features), modalities, asked_contrast),
        ]
        requests += [(own, self._modalities(every_row["image"]), every_contrast) for own in own_features]
        reconstructed, translated, fake, *self_reconstructed = self._decode(requests, training)
        shown = self._shown(fake)
        translated_features, fake_features = self._encode(self.image_encoder, [translated, shown], training)

        # Second round: translate back (cycle), translate what was synthesised.
        requests = [
            (translated_features, source, contrast_of_source),
            (passes.gather(fake_features, source), target, passes.gather(asked_contrast, target)),
        ]
        cycled, fake_translated = self._decode(requests, training)

        judged = {"real": every_row["image"], "translated": translated, "fake": fake}
        if self_reconstructed:
            (judged["self"],) = self_reconstructed
        codes_judged = passes.one_pass(self.feature_discriminator, [code, fusion_code], training)
        return {
            **self._find_lesions(real, fake, training),
            "code": code,
            "source_code": source_features[0],
            "translated_code": translated_features[0],
            "fake_code": fake_features[0],
            "reconstructed": reconstructed,
            "translated": translated,
            "fake": fake,
            "shown": shown,
            "shown_code": self._shown(fusion_code[:, 0]),
            "self_reconstructed": self_reconstructed[0] if self_reconstructed else None,
            "cycled": cycled,
            "fake_translated": fake_translated,
            **self._judge(judged, every_row, training),
            "code_scores": codes_judged[0],
            "fusion_code_scores": codes_judged[1],
        }

    def _forward_from_own_maps(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        """What pretraining needs of `forward`."""
        real = batch["image"]
        (own,) = self._encode(self.fusion_encoder, [self._own_fused_input(batch)], training)
        (made,) = self._decode([(own, self._modalities(real), self._real_contrast(batch, training))], training)
        return {"self_reconstructed": made, **self._judge({"real": real, "self": made}, batch, training)}

    def _judge(self, slices: dict[str, tf.Tensor], batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        """What D_M says of slices [B, k, H, W, 1], first of real ones: for each name its `_scores` and `_classes`."""
        shown = list(slices.values())
        if self.config.judged_intensity:
            shown = self._varied(shown, batch["judged_contrast"])
        real, *made = shown
        # Apart, for the generator's gradient goes through all of a batch, and is 0 at real slices. Spectral
        # normalisation rescales weights where it trains, once a step.
        judged = passes.one_pass(self.discriminator, [real], training)
        judged += passes.one_pass(self.discriminator, made, training=False)
        named = {}
        for name, (scores, classes) in zip(slices, judged, strict=True):
            named |= {f"{name}_scores": scores, f"{name}_classes": classes}
        return named

    def _varied(self, groups: list[tf.Tensor], draws: tf.Tensor) -> list[tf.Tensor]:
        """Groups of slices [B, k, H, W, 1] in other contrasts, every slice by a draw of its own of [rows, J, 2]."""
        varied, first = [], 0
        for slices in groups:
            rows, k = slices.shape[:2]
            own = draws if rows == draws.shape[0] else self._thinned(draws)
            gamma, darkening = tf.unstack(own[:, first : first + k, :, None, None, None], axis=2)
            varied.append(contrast.vary(slices, gamma, darkening, self.config.judged_intensity))
            first += k
        return varied

    def _shown(self, made: tf.Tensor) -> tf.Tensor:
        """What the translator gets to see of synthesis."""
        # Trained by it, slices become what is easy to translate, and modalities shades of each other.
        return tf.stop_gradient(made) if self.config.translation_detached else made

    def _full_rows(self, batch: Batch) -> Batch:
        """The rows that go through all of the method."""
        return {name: self._thinned(value) for name, value in batch.items()}

    def _thinned(self, value: tf.Tensor | None) -> tf.Tensor | None:
        # Not the first rows: these would be others when several replicas share the batch.
        return value if value is None else value[:: self.config.full_every]

    def _find_lesions(self, real: tf.Tensor, fake: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        if self.config.pretrained_lesion:
            return {"lesion_of_fake": self.lesion_processor(fake, training=False)}
        of_real, of_fake = tf.split(self.lesion_processor(tf.concat([real, fake], axis=0), training=training), 2)
        return {"lesion_of_real": of_real, "lesion_of_fake": of_fake}

    def loss_terms(self, batch, tensors):
        if self.in_pretraining:
            return dict.fromkeys(self.terms, tf.zeros([])) | self.step_losses.pretraining(batch, tensors)
        return self.step_losses.all(batch, self._full_rows(batch), tensors)

    def _modalities(self, like: tf.Tensor) -> tf.Tensor:
        """int32 [B, n]: 0..n-1 for each of the B rows of `like`."""
        return pairs.every_modality(tf.shape(like)[0], self.num_modalities)

    def _for_each_modality(self, features: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        """Repeats features [B, 1, ...] to [B, n, ...]."""
        return tuple(tf.repeat(level, self.num_modalities, axis=1) for level in features)

    def _encode(self, encoder: tf.keras.Model, parts: list[tf.Tensor], training: bool) -> list[tuple[tf.Tensor, ...]]:
        """Features of each part [B, k, H, W, c]: the code [B, k, h, w, C], then what skips it, from coarse to fine."""
        return [level if isinstance(level, tuple) else (level,) for level in passes.one_pass(encoder, parts, training)]

    def _real_contrast(self, batch: Batch, training: bool) -> tf.Tensor | None:
        """The contrast of the batch's slices, [B, n, S]; observed while training."""
        if not self.contrast_scale:
            return None
        slices = (passes.merge(batch[name]) for name in ("image", "label", "own_background"))
        measured = contrast.describe(*slices, self.num_classes)
        values, present = (tf.reshape(m, [-1, self.num_modalities, m.shape[-1]]) for m in measured)
        if training:
            self.contrast_scale.observe(values, present)
        return self.contrast_scale.normalise(values, present)

    def _asked_contrast(self, batch: Batch) -> tf.Tensor | None:
        return batch["contrast"] if self.contrast_scale else None

    def _mean_contrast(self, count: tf.Tensor) -> tf.Tensor | None:
        return tf.zeros([count, 1, contrast.size(self.num_classes)]) if self.contrast_scale else None

    def _decode(self, requests, training: bool) -> list[tf.Tensor]:
        """Decodes requests to slices [B, k, H, W, 1].

        A request is features as of `_encode`, a modality int32 [B, k], and a contrast [B, k, S] where one is asked for.
        """
        parts = [(*features, *self._condition(modality, contrasts)) for features, modality, contrasts in requests]
        return passes.one_pass(self.decoder, parts, training)

    def _condition(self, modality: tf.Tensor, contrasts: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        modality = tf.one_hot(modality, self.num_modalities)
        return (modality,) if contrasts is None else (modality, contrasts)


def synthesize(
    modality_gan: ModalityGAN,
    structure: tf.Tensor,
    background: tf.Tensor,
    label: tf.Tensor,
    noise: tf.Tensor | None = None,
    contrast: tf.Tensor | None = None,
) -> tf.Tensor:
    """Map and label to all modalities.

    Args:
      modality_gan: trained.
      structure: float32 [B, H, W, 1], binary; edges under the label's lesion are erased where training did so.
      background: float32 [B, H, W, 1], binary, 1 outside the head.
      label: integer [B, H, W, 1], classes; its lesion lies inside the head.
      noise: float32 [B, H, W, 1], uniform in [0, 1); needed where the configuration fuses noise.
      contrast: float32 [B, n, S], standard normal (`stages.synthesis.contrast`); needed where contrast is a condition.

    Returns:
      float32 [B, n, H, W, 1] in [0, 1], 0 outside the head.
    """
    if modality_gan.config.erase_under_label:
        structure = fusion.remove_lesion_edges(structure, label)
    batch = {"structure": structure, "background": background, "fusion_label": label}
    batch |= {"noise": noise, "contrast": contrast}
    return modality_gan.synthesize(batch)


def _weights(config: SynthesisConfig, terms: tuple[str, ...]) -> dict[str, float]:
    return {term: getattr(config.weights, term) for term in terms}
