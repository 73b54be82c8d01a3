"""Named configurations. `demo`, `cpu`, `workstation` and `default` set sizes and lengths; `paper` also sets formulas.

What measured best is the default of every setting; docs/experiments/README.md has the page of each choice.
"""

from mmsynth_tf import constants
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.configs.config import Config
from mmsynth_tf.configs.tree import override


def of_size(height: int, width: int) -> dict[str, object]:
    """What follows from slices of these pixels, as settings (see `slice_sizes`)."""
    size = height, width
    return {
        "data.image_size": size,
        "structure.latent_dim": slice_sizes.latent_dim(size),
        "segmentation.levels": slice_sizes.unet_levels(size),
    }


# The draft's settings, literally, with the weights of the authors' draft-time code (method §9).
_PAPER = {
    "data.slices": (55, 105, 1),
    "data.crop_rows": (0, 240),
    "data.crop_columns": (0, 240),
    "data.image_size": (240, 240),
    "data.percentiles": (0.0, 100.0),
    "structure_map.beta": 0.07,
    "structure_map.fill_holes": False,
    "structure.formulation": constants.PAPER,
    "structure.latent_dim": 4096,
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
    "segmentation.base_filters": 64,
    "segmentation.levels": 4,
    "synthesis.formulation": constants.PAPER,
    "synthesis.steps": 50 * 12_200,
    "synthesis.batch_size": 1,
    "synthesis.learning_rate": 1e-4,
    "synthesis.discriminator_learning_rate": 1e-4,
    "synthesis.full_every": 1,
    "synthesis.pretraining_steps": 0,
    "synthesis.triples_per_slice": 0,
    "synthesis.base_filters": 128,
    "synthesis.weights.discriminator_real": 50.0,
    "synthesis.weights.discriminator_synthetic": 35.0,
    "synthesis.weights.discriminator_translated": 5.0,
    "synthesis.weights.discriminator_class": 50.0,
    "synthesis.weights.code_discriminator": 1.0,
    "synthesis.weights.translation_adversarial": 5.0,
    "synthesis.weights.translation_class": 50.0,
    "synthesis.weights.adversarial": 35.0,
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
    "translation.map_share": 0.0,
    "translation.guide_share": 0.0,
    "generation.map_quantile": 0.0,
    "generation.dice_threshold": 0.95,
    "runtime.ema_decay": 0.0,
}

# Networks that two CPU cores train (times: docs/performance.md). Of few patients a quarter is kept for testing.
_SMALL = {
    "data.test_fraction": 0.25,
    "structure.base_filters": 16,
    "structure.max_filters": 128,
    "structure.discriminator_filters": 32,
    "segmentation.base_filters": 16,
    "synthesis.base_filters": 16,
    "synthesis.discriminator_filters": 32,
}

# Slices of 64 x 64 pixels of 3 mm. Minutes on two CPU cores: docs/experiments/demonstration.md. Maps are hatched
# after 100 steps of the structure stage, and loops without anatomy after 300.
_DEMO = {
    **_SMALL,
    **of_size(64, 64),
    "data.slices": (50, 105, 2),
    "structure.steps": 600,
    "segmentation.steps": 120,
    "joint.steps": 200,
    "synthesis.steps": 400,
    "synthesis.pretraining_steps": 200,
    "runtime.steps_per_checkpoint": 100,
    "runtime.ema_decay": 0.98,
}

# Slices of 64 x 64 pixels of 3 mm. The study on 17 cases: docs/experiments/usability_17_cases.md.
_CPU = {
    **_SMALL,
    **of_size(64, 64),
    "data.validation_fraction": 0.1,
    "structure.steps": 1_500,
    "segmentation.steps": 1_500,
    "joint.steps": 3_000,
    "synthesis.steps": 2_500,
    "synthesis.pretraining_steps": 1_000,
    "runtime.steps_per_checkpoint": 250,
    "runtime.ema_decay": 0.99,
}

# Slices of 128 x 128 pixels of 1.5 mm: the method and the networks of cpu at four times the pixels.
_WORKSTATION = {
    **_CPU,
    **of_size(128, 128),
}

# Slices of 192 x 192 pixels of 1 mm, on a GPU. Its sizes and lengths are the defaults of the settings; the choices
# behind them were measured with preset cpu.
_DEFAULT = {}

PRESETS = {"default": _DEFAULT, "paper": _PAPER, "workstation": _WORKSTATION, "cpu": _CPU, "demo": _DEMO}


def preset(name: str) -> Config:
    """The configuration of that name: demo, cpu, workstation, default or paper."""
    return override(Config(), PRESETS[name])
