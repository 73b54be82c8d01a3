"""Multimodal synthesis with its auxiliary training (paper §2.4-§2.7, method §5, §6).

Axes: B slices, n modalities, P ordered pairs of modalities (see `pairs.py`), S entries of a contrast (see
`contrast.py`). All inputs of a network in a round form one batch.
"""

import tensorflow as tf

from mmsynth_tf.algorithms import fusion
from mmsynth_tf.configs import DataConfig, StructureMapConfig, SynthesisConfig
from mmsynth_tf.configs.stage import weights_by_group
from mmsynth_tf.models import passes
from mmsynth_tf.models.stage import Batch, Group, StageModel, with_gradient_for
from mmsynth_tf.stages.segmentation.lesion_processor import LesionProcessor
from mmsynth_tf.stages.synthesis import contrast, pairs, parts
from mmsynth_tf.stages.synthesis.losses import ModalityLosses, Tensors

# The code [B, k, h, w, C], then the features of the skip connections, from coarse to fine.
Features = tuple[tf.Tensor, ...]
# Inputs of the decoder: features, a modality int32 [B, k], and a contrast float32 [B, k, S].
Request = tuple[Features, tf.Tensor, tf.Tensor]

_GENERATOR = "generator"


class ModalityGAN(StageModel):
    """EC_R, EC_M, DC_M, D_M, FD_R and the lesion processors, trained together; with registered slices D_J, too.

    Batches hold
      `image`: float32 [B, n, H, W, 1], slices x_i, of a row registered if the choices say so. All rows are
        reconstructed from their own maps; every `config.full_every`-th row has all other losses, too.
      `label`: integer [B, n, H, W, 1], their labels l_i.
      `own_structure` and `own_background`: float32 [B, k, H, W, 1], maps of these slices without their lesions'
        edges, and their masks. k is n; of registered slices it is 1, the map of one modality.
      `structure`: float32 [B, H, W, 1], f: one of those maps, by default without the edges under the chosen label.
      `background`: float32 [B, H, W, 1], m.
      `fusion_label`: integer [B, H, W, 1], l, which fits the map.
      `pair_source` and `pair_target`: int32 [B, P], the ordered modality pairs of the step; runs of
        `pairs.run_length` share their source.
      `noise`: float32 [B, H, W, 1] uniform in [0, 1), where noise is fused.
      `judged_contrast`: float32 [B, 3 n + P, 2] uniform in [0, 1), if the contrast of D_M's inputs is varied (see
        `contrast.vary`). There is one draw for each slice of a row that is an input of D_M.
      `contrast`: float32 [B, n, S] standard normal, the contrasts of the synthetic slices in standard deviations from
        the mean of real slices; S is 0 if contrast is not a condition.
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
        self.structure_map_config, self.config, self.choices = structure_map, config, config.choices
        described_classes = self.num_classes if self.choices.contrast_condition else 0
        self.contrast_scale = contrast.ContrastScale(self.num_modalities, described_classes)
        self.statistics = self.contrast_scale.averages
        generating = parts.generators(data, config, self.contrast_scale.size)
        self.fusion_encoder, self.image_encoder, self.decoder = generating
        judging = parts.judges(data, config, parts.code_shape(self.image_encoder))
        self.discriminator, self.feature_discriminator, *self.joint_discriminators = judging
        self.lesion_processor = lesion_processor
        self.step_losses = ModalityLosses(data, structure_map, config, self.contrast_scale)
        trained = {_GENERATOR: generating, "discriminator": judging}
        if self.choices.pretrained_lesion:
            self.frozen_networks = lesion_processor.networks
        else:
            trained["lesion"] = lesion_processor.networks
        weights, further = weights_by_group(config.weights), weights_by_group(self.choices.weights)
        self.groups = {name: Group(nets, weights.get(name, {}) | further[name]) for name, nets in trained.items()}

    def fused_input(self, structure: tf.Tensor, background: tf.Tensor, label: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """The fusion encoder's input, float32 [B, H, W, C], from maps, masks, labels and noise [B, H, W, 1]."""
        if self.choices.fusion_noise:
            structure = fusion.noise_fill(structure, background, noise)
        return fusion.fuse(structure, label, self.num_classes, concatenate=self.choices.fusion_concatenate)

    def synthesize(
        self, structure: tf.Tensor, background: tf.Tensor, label: tf.Tensor, noise: tf.Tensor, contrast: tf.Tensor
    ) -> tf.Tensor:
        """Map and label to all modalities.

        Args:
          structure: float32 [B, H, W, 1], binary; edges under the label's lesion are erased if training erased them.
          background: float32 [B, H, W, 1], binary, 1 outside the head.
          label: integer [B, H, W, 1], classes; its lesion lies inside the head.
          noise: float32 [B, H, W, 1], uniform in [0, 1).
          contrast: float32 [B, n, S], standard normal, with the S of `contrast_scale`.

        Returns:
          float32 [B, n, H, W, 1] in [0, 1], 0 outside the head.
        """
        if self.choices.erase_under_label:
            structure = fusion.remove_lesion_edges(structure, label)
        fused = self.fused_input(structure, background, label, noise)
        (features,) = self.encode(self.fusion_encoder, [fused[:, None]], training=False)
        request = self._for_each_modality(features), self._modalities(fused), contrast
        (images,) = self.decode([request], training=False)
        return images * (1.0 - background[:, None])

    @property
    def pretraining_steps(self) -> int:
        return self.config.pretraining_steps if self.rebuilds else 0

    @property
    def rebuilds(self) -> bool:
        """Whether slices are also reconstructed from their own maps and labels; beyond the paper."""
        weights = self.choices.weights
        return any((weights.self_reconstruction, weights.self_reconstruction_lesion, weights.self_structure))

    def forward(self, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        batch = {**batch, "own_contrast": self._own_contrast(batch, training)}
        if self.in_pretraining:
            (own,) = self.encode(self.fusion_encoder, [self._own_fused_input(batch)], training)
            (rebuilt,) = self.decode([self._rebuilding(own, batch)], training)
            judged = {"real": (batch["image"], batch), "self": (rebuilt, batch)}
            return {"self_reconstructed": rebuilt, **self._judge(judged, training)}
        # Take every k-th row: the first rows would depend on how replicas split the batch.
        rows = {name: value[:: self.config.full_every] for name, value in batch.items()}
        first = self._first_round(batch, rows, training)
        judged = {"real": (batch["image"], batch)} | {name: (first[name], rows) for name in ("translated", "fake")}
        if "self_reconstructed" in first:
            judged["self"] = first["self_reconstructed"], batch
        codes = [with_gradient_for(_GENERATOR, first[name]) for name in ("code", "fusion_code")]
        code_scores, fusion_code_scores = passes.one_pass(self.feature_discriminator, codes, training)
        return {
            **first,
            **self._second_round(rows, first, training),
            **self._find_lesions(rows["image"], first["fake"], training),
            **self._judge(judged, training),
            "code_scores": code_scores,
            "fusion_code_scores": fusion_code_scores,
            "rows": rows,
        }

    def _first_round(self, batch: Batch, rows: Batch, training: bool) -> dict[str, tf.Tensor]:
        """Reconstructs, translates and synthesises slices, and reconstructs slices from their own maps."""
        real, source, target = rows["image"], rows["pair_source"], rows["pair_target"]
        (features,) = self.encode(self.image_encoder, [real], training)
        fused = [
            self.fused_input(*(rows[name] for name in ("structure", "background", "fusion_label", "noise")))[:, None]
        ]
        if self.rebuilds:
            fused.append(self._own_fused_input(batch))
        of_map, *of_own_maps = self.encode(self.fusion_encoder, fused, training)
        source_features = passes.gather(features, source)
        requests = [
            (features, self._modalities(real), rows["own_contrast"]),
            # A map does not say how bright a scanner makes a modality, so the target's contrast is given. Of
            # unregistered slices it is that of another slice of the modality.
            (source_features, target, passes.gather(rows["own_contrast"], target)),
            (self._for_each_modality(of_map), self._modalities(real), rows["contrast"]),
            *(self._rebuilding(own, batch) for own in of_own_maps),
        ]
        reconstructed, translated, fake, *rebuilt = self.decode(requests, training)
        return {
            "code": features[0],
            "source_code": source_features[0],
            "fusion_code": of_map[0],  # [B, 1, h, w, C]
            "reconstructed": reconstructed,
            "translated": translated,
            "fake": fake,
            **({"self_reconstructed": rebuilt[0]} if rebuilt else {}),
        }

    def _second_round(self, rows: Batch, first: Tensors, training: bool) -> dict[str, tf.Tensor]:
        """Translates the translations back, and translates the synthetic slices."""
        source, target, shown = rows["pair_source"], rows["pair_target"], self._shown(first["fake"])
        of_translated, of_fake = self.encode(self.image_encoder, [first["translated"], shown], training)
        requests = [
            (of_translated, source, passes.gather(rows["own_contrast"], source)),
            (passes.gather(of_fake, source), target, passes.gather(rows["contrast"], target)),
        ]
        cycled, fake_translated = self.decode(requests, training)
        return {
            "translated_code": of_translated[0],
            "fake_code": of_fake[0],
            "shown": shown,
            "shown_code": self._shown(first["fusion_code"][:, 0]),
            "cycled": cycled,
            "fake_translated": fake_translated,
        }

    def _own_fused_input(self, batch: Batch) -> tf.Tensor:
        """`fused_input` of the rows' own maps and labels: float32 [B, k, H, W, C]."""
        maps, background = batch["own_structure"], batch["own_background"]
        k = maps.shape[1]
        own = (passes.merge(part) for part in (maps, background, batch["label"][:, :k]))
        return passes.separate(self.fused_input(*own, tf.repeat(batch["noise"], k, axis=0)), k)

    def _rebuilding(self, own: Features, batch: Batch) -> Request:
        """Decoder inputs that reconstruct slices from the features [B, k, ...] of their own maps."""
        own = self._for_each_modality(own) if self.choices.registered else own
        return own, self._modalities(batch["image"]), batch["own_contrast"]

    def _judge(self, slices: dict[str, tuple[tf.Tensor, Batch]], training: bool) -> dict[str, tf.Tensor]:
        """Outputs of D_M and D_J for slices [B, k, H, W, 1] of rows, real ones first.

        D_M gives `<name>_scores` and `<name>_classes`. D_J sees rows of all modalities as one: `<name>_joint_scores`.
        """
        shown, first = [], 0
        for images, rows in slices.values():
            draws = rows["judged_contrast"][:, first : first + images.shape[1], :, None, None, None]
            shown.append(contrast.vary(images, *tf.unstack(draws, axis=2), self.choices.judged_intensity))
            first += images.shape[1]
        real, *made = shown
        made = [with_gradient_for(_GENERATOR, images) for images in made]
        # Separate calls for real and generated slices: one call would back-propagate through the real half in vain.
        # Only the first call runs with training=True, so spectral normalisation updates once a step.
        judged = passes.one_pass(self.discriminator, [real], training)
        judged += passes.one_pass(self.discriminator, made, training=False)
        named = {}
        for name, (scores, classes) in zip(slices, judged, strict=True):
            named |= {f"{name}_scores": scores, f"{name}_classes": classes}
        for joint in self.joint_discriminators:
            seen = zip(slices, [real, *made], strict=True)
            joined = {name: _as_channels(images) for name, images in seen if name != "translated"}
            of_real, *of_made = joined.values()
            scores = passes.one_pass(joint, [of_real], training) + passes.one_pass(joint, of_made, training=False)
            named |= {f"{name}_joint_scores": found for name, found in zip(joined, scores, strict=True)}
        return named

    def _shown(self, made: tf.Tensor) -> tf.Tensor:
        """Synthetic slices as input of the translator, without gradient if the choices detach it."""
        # Its gradient would favour slices that are easy to translate, with modalities that differ only in brightness.
        return tf.stop_gradient(made) if self.choices.translation_detached else made

    def _find_lesions(self, real: tf.Tensor, fake: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        if self.choices.pretrained_lesion:
            return {"lesion_of_fake": self.lesion_processor(fake, training=False)}
        both = tf.concat([real, with_gradient_for(_GENERATOR, fake)], axis=0)
        of_real, of_fake = tf.split(self.lesion_processor(both, training=training), 2)
        return {"lesion_of_real": of_real, "lesion_of_fake": of_fake}

    def formulas(self, batch, tensors):
        formulas = self.step_losses.of_every_row(batch, tensors)
        return formulas if self.in_pretraining else formulas | self.step_losses.of_full_rows(tensors["rows"], tensors)

    def _modalities(self, like: tf.Tensor) -> tf.Tensor:
        """int32 [B, n]: 0..n-1 for each of the B rows of `like`."""
        return pairs.every_modality(tf.shape(like)[0], self.num_modalities)

    def _for_each_modality(self, features: Features) -> Features:
        """Repeats features [B, 1, ...] to [B, n, ...]."""
        return tuple(tf.repeat(level, self.num_modalities, axis=1) for level in features)

    def _own_contrast(self, batch: Batch, training: bool) -> tf.Tensor:
        """The contrast of the batch's slices, [B, n, S]; observed while training."""
        maps = batch["own_background"].shape[1]
        background = tf.repeat(batch["own_background"], self.num_modalities // maps, axis=1)
        slices = (passes.merge(part) for part in (batch["image"], batch["label"], background))
        measured = self.contrast_scale.describe(*slices)
        values, present = (passes.separate(m, self.num_modalities) for m in measured)
        if training:
            self.contrast_scale.observe(values, present)
        return self.contrast_scale.normalise(values, present)

    def encode(self, encoder: tf.keras.Model, parts: list[tf.Tensor], training: bool) -> list[Features]:
        """Features of each part [B, k, H, W, c]."""
        return [level if isinstance(level, tuple) else (level,) for level in passes.one_pass(encoder, parts, training)]

    def decode(self, requests: list[Request], training: bool) -> list[tf.Tensor]:
        """Slices [B, k, H, W, 1] of each request."""
        inputs = [
            (*features, tf.one_hot(modality, self.num_modalities), contrasts)
            for features, modality, contrasts in requests
        ]
        return passes.one_pass(self.decoder, inputs, training)


def _as_channels(slices: tf.Tensor) -> tf.Tensor:
    """Registered slices [B, n, H, W, 1] as one of n channels: [B, 1, H, W, n]."""
    return tf.transpose(slices, [0, 4, 2, 3, 1])
