"""The loss terms of multimodal synthesis and its auxiliary training (method §6).

Axes as in `modality_gan`: B slices, n modalities, P ordered pairs of modalities.
Tensors go by the names that `ModalityGAN.forward` gives them. Terms are sums over
modalities or pairs of them of means over the batch, and not weighted.
"""

from collections.abc import Mapping

import tensorflow as tf

from mmsynth_tf.algorithms import fusion, structure_maps
from mmsynth_tf.configs import StructureMapConfig, SynthesisConfig
from mmsynth_tf.models import losses, passes
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.stages.synthesis import pairs
from mmsynth_tf.stages.synthesis.contrast import ContrastScale

Tensors = Mapping[str, tf.Tensor]
Terms = dict[str, tf.Tensor]

GENERATOR_TERMS = (
    "translation_adversarial",
    "translation_class",
    "reconstruction",
    "cycle",
    "cycle_consistency",
    "code_consistency",
    "adversarial",
    "adversarial_class",
    "code_adversarial",
    "structure",
    "lesion",
    "translation",
    "code",
    "code_pairs",
    "background",
)
CONTRAST_TERMS = ("contrast",)
AGREEMENT_TERMS = ("structure_agreement",)
SELF_TERMS = ("self_reconstruction", "self_reconstruction_lesion", "self_adversarial", "self_class")
SELF_STRUCTURE_TERMS = ("self_structure",)
DISCRIMINATOR_TERMS = (
    "discriminator_real",
    "discriminator_synthetic",
    "discriminator_translated",
    "discriminator_class",
    "discriminator_class_synthetic",
    "code_discriminator",
)
DISCRIMINATOR_TRANSLATED_CLASS_TERMS = ("discriminator_class_translated",)
DISCRIMINATOR_SELF_TERMS = ("discriminator_self",)
LESION_TERMS = ("lesion_supervised",)


class ModalityLosses:
    """The terms of a configuration.

    Args:
      num_modalities: n.
      num_classes: K.
      structure_map: how maps are extracted.
      config: what there is to train.
      contrast_scale: of the contrasts that are asked for.
    """

    def __init__(
        self,
        num_modalities: int,
        num_classes: int,
        structure_map: StructureMapConfig,
        config: SynthesisConfig,
        contrast_scale: ContrastScale,
    ):
        self.num_modalities, self.num_classes = num_modalities, num_classes
        self.structure_map, self.config, self.contrast_scale = structure_map, config, contrast_scale
        # A mean over the step's pairs times this is the sum over all pairs: exact, or an unbiased estimate.
        self._ordered_pairs = num_modalities * (num_modalities - 1)

    @property
    def reconstructs_itself(self) -> bool:
        """Whether slices are also made from their own maps and labels, which the paper does without."""
        return self.config.weights.self_reconstruction > 0

    @property
    def generator_terms(self) -> tuple[str, ...]:
        weights, itself = self.config.weights, self.reconstructs_itself
        return (
            GENERATOR_TERMS
            + (SELF_TERMS if itself else ())
            + (SELF_STRUCTURE_TERMS if itself and weights.self_structure else ())
            + (AGREEMENT_TERMS if weights.structure_agreement else ())
            + (CONTRAST_TERMS if self.config.contrast_condition else ())
        )

    @property
    def discriminator_terms(self) -> tuple[str, ...]:
        return (
            DISCRIMINATOR_TERMS
            + (DISCRIMINATOR_TRANSLATED_CLASS_TERMS if self.config.weights.discriminator_class_translated else ())
            + (DISCRIMINATOR_SELF_TERMS if self.reconstructs_itself else ())
        )

    def pretraining(self, batch: Batch, tensors: Tensors) -> Terms:
        """Those of slices that are made from their own maps."""
        return {**self._real_terms(tensors), **self._self_terms(batch, tensors)}

    def all(self, batch: Batch, full_rows: Batch, tensors: Tensors) -> Terms:
        """All terms.

        Args:
          batch: every row.
          full_rows: those that went through all of the method.
          tensors: of the forward pass.
        """
        return {
            **self._discriminator_terms(full_rows, tensors),
            **self._auxiliary_terms(full_rows, tensors),
            **self._synthesis_terms(full_rows, tensors),
            **(self._self_terms(batch, tensors) if self.reconstructs_itself else {}),
        }

    def _discriminator_terms(self, batch: Batch, t: Tensors) -> Terms:
        n, n_pairs = self.num_modalities, self._ordered_pairs
        class_translated = n_pairs * self._class_loss(t["translated_classes"], batch["pair_target"])
        return {
            **self._real_terms(t),
            "discriminator_synthetic": n * losses.least_squares_fake_loss(t["fake_scores"]),
            "discriminator_translated": n_pairs * losses.least_squares_fake_loss(t["translated_scores"]),
            "discriminator_class_synthetic": n * self._own_class_loss(t["fake_classes"]),
            **(
                {"discriminator_class_translated": class_translated}
                if self.config.weights.discriminator_class_translated
                else {}
            ),
            "code_discriminator": n * losses.least_squares_real_loss(t["code_scores"])
            + losses.least_squares_fake_loss(t["fusion_code_scores"]),
        }

    def _real_terms(self, t: Tensors) -> Terms:
        return {
            "discriminator_real": self.num_modalities * losses.least_squares_real_loss(t["real_scores"]),
            "discriminator_class": self.num_modalities * self._own_class_loss(t["real_classes"]),
        }

    def _auxiliary_terms(self, batch: Batch, t: Tensors) -> Terms:
        n, n_pairs = self.num_modalities, self._ordered_pairs
        source_image = passes.gather(batch["image"], batch["pair_source"])
        return {
            "translation_adversarial": n_pairs * losses.least_squares_real_loss(t["translated_scores"]),
            "translation_class": n_pairs * self._class_loss(t["translated_classes"], batch["pair_target"]),
            "reconstruction": n * losses.squared_error(batch["image"], t["reconstructed"]),
            "cycle": n_pairs * losses.squared_error(source_image, t["cycled"]),
            "cycle_consistency": self._cycle_consistency(t["cycled"]),
            "code_consistency": n_pairs * losses.squared_error(t["source_code"], t["translated_code"]),
            **self._lesion_supervised_term(batch, t),
        }

    def _lesion_supervised_term(self, batch: Batch, t: Tensors) -> Terms:
        if self.config.pretrained_lesion:
            return {}
        one_hot = fusion.one_hot_label(batch["label"], self.num_classes)
        error = losses.lesion_squared_error(one_hot, t["lesion_of_real"], self.config.class_weights)
        return {"lesion_supervised": self.num_modalities * error}

    def _synthesis_terms(self, batch: Batch, t: Tensors) -> Terms:
        n, n_pairs = self.num_modalities, self._ordered_pairs
        fake, label, background = t["fake"], batch["fusion_label"], batch["background"]
        one_hot = fusion.one_hot_label(label, self.num_classes)[:, None]
        translation_target = passes.gather(t["shown"], batch["pair_target"])
        return {
            "adversarial": n * losses.least_squares_real_loss(t["fake_scores"]),
            "adversarial_class": n * self._own_class_loss(t["fake_classes"]),
            # Two-way: codes of maps should look like codes of slices, and the reverse.
            "code_adversarial": losses.least_squares_real_loss(t["fusion_code_scores"])
            + n * losses.least_squares_fake_loss(t["code_scores"]),
            "lesion": n * losses.lesion_squared_error(one_hot, t["lesion_of_fake"], self.config.class_weights),
            "translation": n_pairs * losses.squared_error(translation_target, t["fake_translated"]),
            "code": n * losses.squared_error(t["shown_code"][:, None], t["fake_code"]),
            "code_pairs": losses.pairwise_squared_error(t["fake_code"][:, None]),
            "background": n * losses.squared_error(fake * background[:, None]),
            **({"contrast": self.contrast(batch, fake)} if self.config.contrast_condition else {}),
            **self.structure_terms(batch, fake),
        }

    def contrast(self, batch: Batch, fake: tf.Tensor) -> tf.Tensor:
        """How far the contrast of slices [B, n, H, W, 1] is from what was asked for."""
        asked = batch["fusion_label"], batch["background"], batch["contrast"]
        return self.num_modalities * losses.squared_error(self.contrast_scale.differences(fake, *asked))

    def _self_terms(self, batch: Batch, t: Tensors) -> Terms:
        n, real, made = self.num_modalities, batch["image"], t["self_reconstructed"]
        lesion = tf.cast(batch["label"] > 0, tf.float32)
        blurred = (structure_maps.gaussian_blur(passes.merge(x), self.config.reconstruction_blur) for x in (real, made))
        return {
            "self_reconstruction": n * losses.squared_error(*blurred),
            "self_reconstruction_lesion": n * losses.squared_error(lesion * real, lesion * made),
            "self_adversarial": n * losses.least_squares_real_loss(t["self_scores"]),
            "self_class": n * self._own_class_loss(t["self_classes"]),
            "discriminator_self": n * losses.least_squares_fake_loss(t["self_scores"]),
            **({"self_structure": self._self_structure(batch, made)} if self.config.weights.self_structure else {}),
        }

    def structure_terms(self, batch: Batch, fake: tf.Tensor) -> Terms:
        """Σ_i ‖f - f_g,i‖² and, where it has a weight, Σ_i ‖f_g,i - mean of all f_g,j‖² of slices [B, n, H, W, 1].

        Away from the chosen lesion where its edges were erased from f.
        """
        n, label = self.num_modalities, batch["fusion_label"]
        found = self._soft_maps(fake, label, batch["background"])
        terms = {"structure": n * losses.squared_error(found, self._away_from(label, batch["structure"])[:, None])}
        if self.config.weights.structure_agreement:
            mean = tf.reduce_mean(found, axis=1, keepdims=True)
            terms["structure_agreement"] = n * losses.squared_error(found, mean)
        return terms

    def _self_structure(self, batch: Batch, made: tf.Tensor) -> tf.Tensor:
        """Σ_i ‖f_i - f_g,i‖² of soft maps of real slices and of those made from their own maps, [B, n, H, W, 1]."""
        label, background = passes.merge(batch["label"]), passes.merge(batch["own_background"])
        maps = [self._soft_maps(images, label, background) for images in (batch["image"], made)]
        return self.num_modalities * losses.squared_error(*maps)

    def _soft_maps(self, images: tf.Tensor, label: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        """Soft structure maps [B, n, H, W, 1] of slices, away from lesions where edges are erased there.

        Label and background are those of each slice, [B n, H, W, 1], or of each row, [B, H, W, 1].
        """
        slices = passes.merge(images)
        label, background = (tf.repeat(x, slices.shape[0] // x.shape[0], axis=0) for x in (label, background))
        maps = self._away_from(label, structure_maps.soft_structure_map(slices, self.structure_map, background))
        return tf.reshape(maps, images.shape)

    def _away_from(self, label: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Maps [N, H, W, 1] without the edges under these labels, if the configuration erases them."""
        return fusion.remove_lesion_edges(maps, label) if self.config.erase_under_label else maps

    def _cycle_consistency(self, cycled: tf.Tensor) -> tf.Tensor:
        """Σ_i Σ_j≠k ‖x_cr,j,i - x_cr,k,i‖², estimated from the step's pairs where they are a sample."""
        run = pairs.run_length(self.num_modalities, self.config.triples_per_slice)
        if run < 2:
            return tf.zeros([])
        runs = tf.reshape(cycled, [-1, cycled.shape[1] // run, run, *cycled.shape[2:]])
        comparisons = runs.shape[1] * run * (run - 1)
        share = self._ordered_pairs * (self.num_modalities - 2) / comparisons
        return share * losses.pairwise_squared_error(runs)

    def _class_loss(self, classes: tf.Tensor, modality: tf.Tensor) -> tf.Tensor:
        classes, modality = passes.merge(classes), tf.reshape(modality, [-1])
        if self.config.softmax_class:
            return losses.modality_classification_loss(classes, modality)
        return losses.modality_regression_loss(classes, modality)

    def _own_class_loss(self, classes: tf.Tensor) -> tf.Tensor:
        """The class loss of one slice of each modality: scores [B, n, h, w, C]."""
        return self._class_loss(classes, pairs.every_modality(tf.shape(classes)[0], self.num_modalities))
