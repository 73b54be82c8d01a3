"""Named configurations: how large, how long, and which of the paper's choices."""

from mmsynth_tf import constants
from mmsynth_tf.configs.config import Config
from mmsynth_tf.configs.tree import override

# The draft's settings, literally, with the weights of the authors' draft-time code (method §9).
_PAPER = {
    "data.slice_start": 55,
    "data.crop_rows": (0, 240),
    "data.crop_columns": (0, 240),
    "data.percentile_low": 0.0,
    "data.percentile_high": 100.0,
    "structure.formulation": constants.PAPER,
    "structure.latent_dim": 4096,
    "structure_map.fill_holes": False,
    "structure.base_filters": 64,
    "structure.max_filters": 768,
    "structure.steps": 50 * 12_200,
    "structure.batch_size": 1,
    "structure.learning_rate": 1e-4,
    "structure.discriminator_learning_rate": 1e-4,
    "structure.weights.code_discriminator": 0.1,
    "structure.weights.map_discriminator": 0.01,
    "structure.weights.map_adversarial": 100.0,
    "structure.weights.moments": 0.1,
    "structure.weights.divergence": 0.0,
    "structure.weights.reconstruction": 50.0,
    "segmentation.formulation": constants.PAPER,
    "segmentation.steps": 100 * 12_200,
    "segmentation.batch_size": 1,
    "segmentation.learning_rate": 1e-4,
    "segmentation.base_filters": 64,
    "synthesis.formulation": constants.PAPER,
    "synthesis.steps": 50 * 12_200,
    "synthesis.batch_size": 1,
    "synthesis.learning_rate": 1e-4,
    "synthesis.discriminator_learning_rate": 1e-4,
    "translation.map_share": 0.0,
    "translation.guide_share": 0.0,
    "synthesis.full_every": 1,
    "synthesis.pretraining_steps": 0,
    "synthesis.triples_per_slice": 0,
    "synthesis.base_filters": 128,
    "synthesis.residual_blocks": 0,
    "synthesis.weights.discriminator_real": 50.0,
    "synthesis.weights.discriminator_synthetic": 35.0,
    "synthesis.weights.discriminator_translated": 5.0,
    "synthesis.weights.discriminator_class": 50.0,
    "synthesis.weights.code_discriminator": 1.0,
    "synthesis.weights.translation_adversarial": 5.0,
    "synthesis.weights.translation_class": 50.0,
    "synthesis.weights.adversarial": 35.0,
    "synthesis.weights.adversarial_class": 50.0,
    "synthesis.weights.code_adversarial": 1.0,
    "synthesis.weights.reconstruction": 5.0,
    "synthesis.weights.cycle": 10.0,
    "synthesis.weights.code_consistency": 5.0,
    "synthesis.weights.structure": 15.0,
    "synthesis.weights.lesion": 1.0,
    "synthesis.weights.translation": 2.0,
    "synthesis.weights.code": 1.0,
    "synthesis.weights.code_pairs": 0.2,
    "synthesis.weights.background": 1.5,
    "generation.map_quantile": 0.0,
    "augmentation.intensity": 0.0,
    "runtime.augment": False,
    "runtime.ema_decay": 0.0,
}

# 64 x 64 pixels of 3 mm, networks that two CPU cores train in minutes.
_SMALL = {
    "data.crop_rows": (33, 225),
    "data.crop_columns": (24, 216),
    "data.height": 64,
    "data.width": 64,
    "data.test_fraction": 0.25,
    "data.validation_fraction": 0.1,
    "structure_map.beta": 0.1,
    "structure.latent_dim": 64,
    "structure.base_filters": 16,
    "structure.max_filters": 128,
    "structure.discriminator_filters": 32,
    "segmentation.base_filters": 16,
    "synthesis.base_filters": 16,
    "synthesis.discriminator_filters": 32,
    "generation.dice_threshold": 0.7,
    "runtime.ema_decay": 0.99,
}

_DEMO = {
    **_SMALL,
    "data.slice_step": 2,
    "data.validation_fraction": 0.0,
    "structure.steps": 300,
    "structure.steps_per_checkpoint": 100,
    "segmentation.steps": 120,
    "segmentation.steps_per_checkpoint": 40,
    "synthesis.steps": 400,
    "synthesis.pretraining_steps": 200,
    "synthesis.steps_per_checkpoint": 100,
    "generation.dice_threshold": 0.5,
    "runtime.ema_decay": 0.98,
}

_CPU = {
    **_SMALL,
    "structure.steps": 1_500,
    "structure.steps_per_checkpoint": 250,
    "segmentation.steps": 1_500,
    "segmentation.steps_per_checkpoint": 250,
    "synthesis.steps": 2_500,
    "synthesis.pretraining_steps": 1_000,
    "synthesis.steps_per_checkpoint": 250,
}

PRESETS = {"default": {}, "paper": _PAPER, "cpu": _CPU, "demo": _DEMO}


def preset(name: str) -> Config:
    """The configuration of that name: demo, cpu, default or paper."""
    return override(Config(), PRESETS[name])
