"""The loss terms of multimodal synthesis and its auxiliary training (method §6).

Axes as in `gan`: B slices, n modalities, P ordered pairs of modalities. Tensors have the names that
`ModalityGAN.forward` gives them. Terms are unweighted: means over the batch, summed over modalities or pairs.
Each term has the name of its weight, and is computed only if that weight is not 0.
"""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from mmsynth_tf.algorithms import fusion, structure_maps
from mmsynth_tf.configs import DataConfig, StructureMapConfig, SynthesisConfig
from mmsynth_tf.models import losses, passes
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.stages.synthesis import pairs
from mmsynth_tf.stages.synthesis.contrast import ContrastScale

Tensors = Mapping[str, tf.Tensor]
Formulas = dict[str, Callable[[], tf.Tensor]]

# Sigma of the blur before a reconstruction is compared with its slice, as a share of the shorter side. The blur leaves
# the finest texture to the discriminator.
BLUR = 1 / 64


class ModalityLosses:
    """The loss terms of a configuration.

    Args:
      data: gives n and K.
      structure_map: settings of map extraction.
      config: settings of the synthesis stage.
      contrast_scale: normalises the requested contrasts.
    """

    def __init__(
        self,
        data: DataConfig,
        structure_map: StructureMapConfig,
        config: SynthesisConfig,
        contrast_scale: ContrastScale,
    ):
        n = data.num_modalities
        self.num_modalities, self.num_classes = n, data.num_classes
        self.structure_map, self.contrast_scale, self.choices = structure_map, contrast_scale, config.choices
        self._run_length = pairs.run_length(n, config.triples_per_slice)
        # A mean over the step's pairs times this is the sum over all pairs: exact, or an unbiased estimate.
        self._ordered_pairs = n * (n - 1)

    def of_every_row(self, batch: Batch, t: Tensors) -> Formulas:
        """The terms of all rows, which are also the terms of pretraining."""
        n, real, fake = self.num_modalities, losses.least_squares_real_loss, losses.least_squares_fake_loss
        # "fake": slices from chosen maps; "self": slices from their own maps, the only ones in pretraining.
        made = [name for name in ("fake", "self") if f"{name}_scores" in t]
        return {
            "discriminator_real": lambda: n * real(t["real_scores"]),
            "discriminator_class": lambda: n * self._own_class_loss(t["real_classes"]),
            "discriminator_synthetic": lambda: n * sum(fake(t[f"{name}_scores"]) for name in made),
            "adversarial": lambda: n * sum(real(t[f"{name}_scores"]) for name in made),
            "adversarial_class": lambda: n * sum(self._own_class_loss(t[f"{name}_classes"]) for name in made),
            "self_reconstruction": lambda: self._self_reconstruction(batch, t),
            "self_reconstruction_lesion": lambda: self._self_reconstruction_lesion(batch, t),
            "self_structure": lambda: self._self_structure(batch, t),
            "joint_discriminator_real": lambda: real(t["real_joint_scores"]),
            "joint_discriminator_synthetic": lambda: sum(fake(t[f"{name}_joint_scores"]) for name in made),
            "joint_adversarial": lambda: sum(real(t[f"{name}_joint_scores"]) for name in made),
        }

    def of_full_rows(self, rows: Batch, t: Tensors) -> Formulas:
        """The further terms of the rows that have all losses (see `ModalityGAN`)."""
        return {**self._judged_terms(rows, t), **self._auxiliary_terms(rows, t), **self._synthesis_terms(rows, t)}

    def _judged_terms(self, rows: Batch, t: Tensors) -> Formulas:
        n, n_pairs = self.num_modalities, self._ordered_pairs
        real, fake = losses.least_squares_real_loss, losses.least_squares_fake_loss
        return {
            "discriminator_translated": lambda: n_pairs * fake(t["translated_scores"]),
            "discriminator_class_synthetic": lambda: n * self._own_class_loss(t["fake_classes"]),
            "discriminator_class_translated": lambda: self._translation_class(rows, t),
            "code_discriminator": lambda: n * real(t["code_scores"]) + fake(t["fusion_code_scores"]),
            "translation_adversarial": lambda: n_pairs * real(t["translated_scores"]),
            "translation_class": lambda: self._translation_class(rows, t),
            # Two-way: codes of maps should look like codes of slices, and the reverse.
            "code_adversarial": lambda: real(t["fusion_code_scores"]) + n * fake(t["code_scores"]),
        }

    def _auxiliary_terms(self, rows: Batch, t: Tensors) -> Formulas:
        n, n_pairs, image, error = self.num_modalities, self._ordered_pairs, rows["image"], losses.squared_error
        return {
            "reconstruction": lambda: n * error(image, t["reconstructed"]),
            "paired_translation": lambda: (
                n_pairs * _blurred_error(passes.gather(image, rows["pair_target"]), t["translated"])
            ),
            "cycle": lambda: n_pairs * error(passes.gather(image, rows["pair_source"]), t["cycled"]),
            "cycle_consistency": lambda: self._cycle_consistency(t["cycled"]),
            "code_consistency": lambda: n_pairs * error(t["source_code"], t["translated_code"]),
            "lesion_supervised": lambda: self._lesion_error(rows["label"], t["lesion_of_real"]),
        }

    def _synthesis_terms(self, rows: Batch, t: Tensors) -> Formulas:
        n, n_pairs, fake, error = self.num_modalities, self._ordered_pairs, t["fake"], losses.squared_error
        label, background = rows["fusion_label"], rows["background"]
        # Cached, because two terms need them.
        soft_maps = functools.cache(lambda: self._soft_maps(fake, label))
        return {
            "lesion": lambda: self._lesion_error(label[:, None], t["lesion_of_fake"]),
            "translation": lambda: (
                n_pairs * error(passes.gather(t["shown"], rows["pair_target"]), t["fake_translated"])
            ),
            "code": lambda: n * error(t["shown_code"][:, None], t["fake_code"]),
            "code_pairs": lambda: losses.pairwise_squared_error(t["fake_code"][:, None]),
            "background": lambda: n * error(fake * background[:, None]),
            "contrast": lambda: n * error(self.contrast_scale.differences(fake, label, background, rows["contrast"])),
            # Outside the chosen lesion if its edges were erased from f.
            "structure": lambda: n * error(soft_maps(), self._away_from(label, rows["structure"])[:, None]),
            "structure_agreement": lambda: n * error(soft_maps(), tf.reduce_mean(soft_maps(), axis=1, keepdims=True)),
        }

    def _translation_class(self, rows: Batch, t: Tensors) -> tf.Tensor:
        return self._ordered_pairs * self._class_loss(t["translated_classes"], rows["pair_target"])

    def _lesion_error(self, label: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        """Σ_i ‖l - l_i‖² of labels [B, n or 1, H, W, 1] and probabilities [B, n, H, W, K]."""
        one_hot = fusion.one_hot_label(label, self.num_classes)
        return self.num_modalities * losses.lesion_squared_error(one_hot, found, self.choices.class_weights)

    def _self_reconstruction(self, batch: Batch, t: Tensors) -> tf.Tensor:
        """Σ_i ‖x_i - x_g,i‖² of blurred slices."""
        return self.num_modalities * _blurred_error(batch["image"], t["self_reconstructed"])

    def _self_reconstruction_lesion(self, batch: Batch, t: Tensors) -> tf.Tensor:
        lesion = tf.cast(batch["label"] > 0, tf.float32)
        return self.num_modalities * losses.squared_error(lesion * batch["image"], lesion * t["self_reconstructed"])

    def _self_structure(self, batch: Batch, t: Tensors) -> tf.Tensor:
        """Σ_i ‖f_i - f_g,i‖² of soft maps of real slices and of their reconstructions from their own maps."""
        label = passes.merge(batch["label"])
        maps = (self._soft_maps(images, label) for images in (batch["image"], t["self_reconstructed"]))
        return self.num_modalities * losses.squared_error(*maps)

    def _soft_maps(self, images: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Soft structure maps [B, n, H, W, 1] of slices, outside the lesions if edges are erased there.

        Labels are those of each slice, [B n, H, W, 1], or of each row, [B, H, W, 1].
        """
        slices = passes.merge(images)
        label = tf.repeat(label, slices.shape[0] // label.shape[0], axis=0)
        maps = self._away_from(label, structure_maps.soft_structure_map(slices, self.structure_map))
        return tf.reshape(maps, images.shape)

    def _away_from(self, label: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Maps [N, H, W, 1] without the edges under these labels, if the choices erase them."""
        return fusion.remove_lesion_edges(maps, label) if self.choices.erase_under_label else maps

    def _cycle_consistency(self, cycled: tf.Tensor) -> tf.Tensor:
        """Σ_i Σ_j≠k ‖x_cr,j,i - x_cr,k,i‖², estimated if the step's pairs are a sample of all pairs."""
        run = self._run_length
        if run < 2:
            return tf.zeros([])
        runs = tf.reshape(cycled, [-1, cycled.shape[1] // run, run, *cycled.shape[2:]])
        comparisons = runs.shape[1] * run * (run - 1)
        share = self._ordered_pairs * (self.num_modalities - 2) / comparisons
        return share * losses.pairwise_squared_error(runs)

    def _class_loss(self, classes: tf.Tensor, modality: tf.Tensor) -> tf.Tensor:
        classes, modality = passes.merge(classes), tf.reshape(modality, [-1])
        if self.choices.softmax_class:
            return losses.modality_classification_loss(classes, modality)
        return losses.modality_regression_loss(classes, modality)

    def _own_class_loss(self, classes: tf.Tensor) -> tf.Tensor:
        """The class loss of scores [B, n, h, w, C], of one slice for each modality."""
        return self._class_loss(classes, pairs.every_modality(tf.shape(classes)[0], self.num_modalities))


def _blurred_error(real: tf.Tensor, made: tf.Tensor) -> tf.Tensor:
    """‖real - made‖² of slices [B, k, H, W, 1] after a blur, which excludes the finest texture."""
    sigma = BLUR * min(real.shape[2:4])
    return losses.squared_error(*(structure_maps.gaussian_blur(passes.merge(slices), sigma) for slices in (real, made)))
