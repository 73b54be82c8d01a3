"""Named configurations: how large, how long, and which of the paper's choices."""

from mmsynth_tf.configs import Config, override

# The draft's settings, literally, with the weights of the authors' draft-time code (method §9).
_PAPER = {
    "data.crop_rows": (0, 240),
    "data.crop_columns": (0, 240),
    "data.percentile_low": 0.0,
    "data.percentile_high": 100.0,
    "structure.latent_dim": 4096,
    "structure.base_filters": 64,
    "structure.max_filters": 768,
    "structure.steps": 50 * 12_200,
    "structure.batch_size": 1,
    "structure.dropout": 0.1,
    "structure.spectral_normalization": False,
    "structure.mean_filter_init": True,
    "structure.discriminator_init_stddev": 0.2,
    "structure.weights.code_discriminator": 0.1,
    "structure.weights.map_discriminator": 0.01,
    "structure.weights.code_adversarial": 0.1,
    "structure.weights.map_adversarial": 100.0,
    "segmentation.steps": 100 * 12_200,
    "segmentation.batch_size": 1,
    "segmentation.learning_rate": 1e-4,
    "segmentation.beta_1": 0.5,
    "segmentation.base_filters": 64,
    "segmentation.dropout": 0.1,
    "segmentation.cosine_decay": False,
    "segmentation.class_weights": (1.0, 15.0, 85.0, 85.0, 85.0),
    "segmentation.weights.squared_error": 1.0,
    "segmentation.weights.dice": 0.0,
    "segmentation.weights.cross_entropy": 0.0,
    "synthesis.steps": 50 * 12_200,
    "synthesis.batch_size": 1,
    "synthesis.learning_rate": 1e-4,
    "synthesis.discriminator_learning_rate": 1e-4,
    "synthesis.lesion_learning_rate": 1e-4,
    "synthesis.triples_per_slice": 0,
    "synthesis.own_label_fraction": 0.0,
    "synthesis.base_filters": 128,
    "synthesis.residual_blocks": 0,
    "synthesis.lesion_filters": 64,
    "synthesis.dropout": 0.1,
    "synthesis.spectral_normalization": False,
    "synthesis.softmax_class": False,
    "synthesis.mean_filter_init": True,
    "synthesis.discriminator_init_stddev": 0.2,
    "synthesis.class_weights": (1.0, 10.0, 50.0, 50.0, 50.0),
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
    "synthesis.weights.structure": 15.0,
    "synthesis.weights.self_reconstruction": 0.0,
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
    "structure.latent_dim": 128,
    "structure.base_filters": 16,
    "structure.max_filters": 128,
    "structure.mask_filters": 8,
    "structure.discriminator_filters": 32,
    "structure.learning_rate": 5e-4,
    "structure.discriminator_learning_rate": 2e-4,
    "segmentation.base_filters": 16,
    "synthesis.base_filters": 16,
    "synthesis.discriminator_filters": 32,
    "synthesis.lesion_filters": 8,
    "synthesis.learning_rate": 5e-4,
    "synthesis.discriminator_learning_rate": 2e-4,
    "generation.dice_threshold": 0.7,
    "runtime.ema_decay": 0.99,
}

_DEMO = {
    **_SMALL,
    "data.slice_step": 2,
    "structure.steps": 600,
    "structure.steps_per_checkpoint": 100,
    "segmentation.steps": 200,
    "segmentation.steps_per_checkpoint": 50,
    "synthesis.steps": 300,
    "synthesis.steps_per_checkpoint": 50,
}

_CPU = {
    **_SMALL,
    "structure.steps": 3_000,
    "structure.steps_per_checkpoint": 250,
    "segmentation.steps": 1_500,
    "segmentation.steps_per_checkpoint": 250,
    "synthesis.steps": 3_000,
    "synthesis.steps_per_checkpoint": 250,
}

PRESETS = {"default": {}, "paper": _PAPER, "cpu": _CPU, "demo": _DEMO}


def preset(name: str) -> Config:
    """The configuration of that name: demo, cpu, default or paper."""
    return override(Config(), PRESETS[name])
