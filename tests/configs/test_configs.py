"""Configuration: overrides, JSON, presets, flags."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import Config, presets, tree
from mmsynth_tf.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_override_replaces_the_named_settings_alone():
    config = tree.override(
        Config(), {"synthesis.steps": 7, "synthesis.weights.cycle": 0.5, "data.image_size": (64, 32)}
    )
    assert (config.synthesis.steps, config.synthesis.weights.cycle, config.data.image_size) == (7, 0.5, (64, 32))
    changed = {"synthesis.steps", "synthesis.weights.cycle", "data.image_size"}
    before, after = tree.fields(Config()), tree.fields(config)
    assert {path for path in before if before[path] != after[path]} == changed


def test_an_override_leaves_the_original_as_it_was():
    original = Config()
    tree.override(original, {"runtime.seed": 5})
    assert original.runtime.seed == 0


@pytest.mark.parametrize(
    "path", ["synthesis.step", "steps", "synthesis", "synthesis.weights.nothing", "runtime.seed.x"]
)
def test_an_unknown_setting_is_refused_by_name(path):
    with pytest.raises(ValueError, match=rf"No such setting: {path}\..* `train\.py --helpfull` lists all"):
        tree.override(Config(), {path: 1})


def test_settings_like_an_unknown_one_are_named():
    with pytest.raises(ValueError, match=r"synthesis\.step\. Did you mean synthesis\.steps or "):
        tree.override(Config(), {"synthesis.step": 1})
    with pytest.raises(ValueError, match=r"No such setting: x\. `train\.py --helpfull`"):
        tree.override(Config(), {"x": 1})


def test_lists_become_the_tuples_they_replace():
    config = tree.override(Config(), {"data.modalities": ["a", "b"], "data.regions": {"R": [1, 2]}})
    assert config.data.modalities == ("a", "b") and config.data.regions == {"R": (1, 2)}
    assert config.data.num_modalities == 2


@pytest.mark.parametrize("name", configs.PRESETS)
def test_json_gives_the_configuration_back(name):
    config = configs.preset(name)
    assert tree.from_json(Config, tree.to_json(config)) == config
    assert tree.from_json(configs.DataConfig, tree.to_json(config.data)) == config.data


def test_json_of_another_version_is_refused_by_the_setting_it_holds():
    text = json.dumps({"runtime": {"seed": 1, "colour": "red"}})
    with pytest.raises(ValueError, match=r"No such setting: runtime\.colour"):
        tree.from_json(Config, text)


def test_settings_left_out_of_json_keep_their_defaults():
    assert tree.from_json(Config, '{"runtime": {"seed": 3}}') == tree.override(Config(), {"runtime.seed": 3})


def test_every_setting_has_a_help_text():
    assert not [path for path, (_, text) in tree.fields(Config()).items() if not text]


def test_fields_cover_the_whole_tree():
    def count(config) -> int:
        values = [getattr(config, field.name) for field in dataclasses.fields(config)]
        return sum(count(value) if dataclasses.is_dataclass(value) else 1 for value in values)

    assert len(tree.fields(Config())) == count(Config())


def test_presets_have_their_documented_names():
    assert set(configs.PRESETS) == {"demo", "cpu", "workstation", "default", "paper"}
    assert configs.preset("default") == Config()
    assert all(name in configs.preset.__doc__ for name in configs.PRESETS)


# What a preset but the paper's may set; all else has one value, the one that measured best.
SIZES_AND_LENGTHS = {
    *(f"data.{name}" for name in ("slices", "image_size", "test_fraction", "validation_fraction")),
    *(f"structure.{name}" for name in ("latent_dim", "base_filters", "max_filters", "discriminator_filters")),
    *("segmentation.base_filters", "segmentation.levels", "synthesis.base_filters", "synthesis.discriminator_filters"),
    *(f"{stage}.steps" for stage in constants.STAGES),
    *("synthesis.pretraining_steps", "runtime.steps_per_checkpoint", "runtime.ema_decay"),
}
MOST_SETTINGS, MOST_WEIGHTS = 60, 30


def test_presets_but_the_paper_s_differ_in_sizes_and_lengths_alone():
    values = [tree.fields(configs.preset(name)) for name in ("demo", "cpu", "workstation", "default")]
    differing = {path for path in values[0] if len({str(of_preset[path][0]) for of_preset in values}) > 1}
    assert differing == SIZES_AND_LENGTHS


@pytest.mark.parametrize("name", configs.PRESETS)
def test_presets_set_nothing_but_what_follows_from_the_size_to_what_it_is_already(name):
    same = {path for path, value in configs.PRESETS[name].items() if tree.fields(Config())[path][0] == value}
    assert same <= set(presets.of_size(64, 64))


@pytest.mark.parametrize("name", ["demo", "cpu", "workstation", "default"])
def test_depths_and_codes_follow_from_the_slice_size(name):
    config = configs.preset(name)
    assert tree.override(config, presets.of_size(*config.data.image_size)) == config


def test_workstation_is_cpu_at_four_times_the_pixels():
    cpu, workstation = (tree.fields(configs.preset(name)) for name in ("cpu", "workstation"))
    differing = {path for path in cpu if cpu[path][0] != workstation[path][0]}
    assert differing == set(presets.of_size(128, 128))
    assert configs.preset("workstation").data.spacing_mm == (2.0, 1.5, 1.5)


def test_the_slices_of_all_presets_but_the_paper_s_show_the_same_field_of_view():
    fields = {
        (c.data.crop_rows, c.data.crop_columns) for n in configs.PRESETS if n != "paper" for c in [configs.preset(n)]
    }
    assert fields == {((33, 225), (24, 216))}


def test_there_are_not_more_settings_and_loss_weights_than_a_person_can_look_through():
    weights = [path for path in tree.fields(Config()) if ".weights." in path]
    assert len(weights) <= MOST_WEIGHTS
    assert len(tree.fields(Config())) - len(weights) <= MOST_SETTINGS


@pytest.mark.parametrize("name", configs.PRESETS)
def test_presets_can_be_trained(name):
    config = configs.preset(name)
    for extent in config.data.image_size:
        assert extent % 8 == 0 and extent % (1 << (config.segmentation.levels - 1)) == 0
    for weights in (config.segmentation.choices.class_weights, config.synthesis.choices.class_weights):
        assert len(weights) in (1, 2, config.data.num_classes) and min(weights) > 0
    for stage in constants.STAGES:
        settings = getattr(config, stage)
        assert 0 < config.runtime.steps_per_checkpoint <= settings.steps
        in_choices = stage in (constants.SEGMENTATION, constants.JOINT)
        weights = dataclasses.astuple((settings.choices if in_choices else settings).weights)
        assert min(weights) >= 0 and max(weights) > 0
    assert config.segmentation.design in constants.LESION_DESIGNS
    assert 0 < config.data.test_fraction + config.data.validation_fraction < 1
    for region in config.data.regions.values():
        assert set(region) <= set(range(1, config.data.num_classes))


def test_the_paper_s_presets_follow_the_draft():
    config = configs.preset("paper")
    assert config.generation.mask_error == 0.05
    assert (config.structure.batch_size, config.synthesis.batch_size, config.segmentation.batch_size) == (1, 1, 1)
    assert config.synthesis.triples_per_slice == 0
    assert (config.translation.map_share, config.translation.guide_share) == (0.0, 0.0)
    for stage in (config.structure.choices, config.synthesis.choices):
        assert (stage.discriminator_normalization, stage.discriminator_init_stddev) == ("instance_everywhere", 0.2)
    assert config.structure.choices.erase_lesion and not config.structure_map.fill_holes
    # The draft's discriminator names real, synthesised and translated slices.
    further = config.synthesis.choices.weights
    assert config.synthesis.weights.discriminator_class == 50.0
    assert (further.discriminator_class_synthetic, further.discriminator_class_translated) == (50.0, 50.0)
    # What is beyond the draft has no weight.
    assert further.structure_agreement == further.self_structure == further.contrast == 0.0
    assert further.self_reconstruction == config.structure.weights.divergence == 0.0
    weights = config.segmentation.choices.weights
    assert (weights.squared_error, weights.dice, weights.cross_entropy) == (1.0, 0.0, 0.0)
    assert {getattr(config, stage).choices.augmentation for stage in constants.PAPER_STAGES} == {constants.UNCHANGED}


def test_segmenters_are_trained_under_strong_augmentation_and_generators_under_weak():
    config = configs.preset("default")
    kinds = {stage: getattr(config, stage).choices.augmentation for stage in constants.STAGES}
    assert kinds[constants.SEGMENTATION] == kinds[constants.JOINT] == constants.STRONG
    assert kinds[constants.STRUCTURE] == kinds[constants.SYNTHESIS] == constants.WEAK


# Of the authors' code of that time; where it has no such term, or one without gradient, what the draft's formulas say.
PAPER_WEIGHTS = {
    "structure": {
        "code_discriminator": 0.1,
        "map_discriminator": 0.01,
        "code_adversarial": 0.1,
        "map_adversarial": 100.0,
        "moments": 0.1,
        "divergence": 0.0,
        "reconstruction": 50.0,
    },
    "synthesis": {
        "discriminator_real": 50.0,
        "discriminator_synthetic": 35.0,
        "discriminator_translated": 5.0,
        "discriminator_class": 50.0,
        "code_discriminator": 1.0,
        "translation_adversarial": 5.0,
        "translation_class": 50.0,
        "reconstruction": 5.0,
        "cycle": 10.0,
        "cycle_consistency": 2.0,
        "code_consistency": 5.0,
        "adversarial": 35.0,
        "adversarial_class": 50.0,
        "code_adversarial": 1.0,
        "structure": 15.0,
        "lesion": 1.0,
        "translation": 2.0,
        "code": 1.0,
        "code_pairs": 0.2,
        "background": 1.5,
    },
}


@pytest.mark.parametrize("stage", PAPER_WEIGHTS)
def test_the_paper_s_weights_are_those_of_the_authors(stage):
    settings = getattr(configs.preset("paper"), stage)
    weights = dataclasses.asdict(settings.weights)
    if stage == "synthesis":
        weights |= dataclasses.asdict(settings.choices.weights)
    assert {name: weights[name] for name in PAPER_WEIGHTS[stage]} == PAPER_WEIGHTS[stage]


def test_the_paper_s_slices_are_50_of_240_pixels():
    data = configs.preset("paper").data
    assert data.slices == (55, 105, 1)
    assert (data.crop_rows, data.crop_columns, data.image_size) == ((0, 240), (0, 240), (240, 240))
    assert data.percentiles == (0.0, 100.0)


def run_flags(*arguments: str, further: str = "", base: str = "None") -> subprocess.CompletedProcess:
    """Parses a command line in a process of its own, since flags are defined once a process; prints JSON."""
    code = (
        "import sys; from absl import flags; from mmsynth_tf.configs import flags as config_flags, preset, tree;"
        f"config_flags.define_config_flags([{further}]); flags.FLAGS(sys.argv);"
        f"print(tree.to_json(config_flags.config_from_flags({base})))"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_flags_override_the_preset():
    arguments = {
        "preset": "demo",
        "config.synthesis.steps": "12",
        "config.structure_map.beta": "0.25",
        "config.data.modalities": "t1,t2",
        "config.data.crop_rows": "8,200",
        "config.data.regions": '{"ET": [4]}',
        "config.segmentation.design": "1seg",
        "config.augmentation.flip": "false",
    }
    result = run_flags(*(f"--{name}={value}" for name, value in arguments.items()))
    assert result.returncode == 0, result.stderr
    expected = {
        "synthesis.steps": 12,
        "structure_map.beta": 0.25,
        "data.modalities": ("t1", "t2"),
        "data.crop_rows": (8, 200),
        "data.regions": {"ET": (4,)},
        "segmentation.design": "1seg",
        "augmentation.flip": False,
    }
    assert tree.from_json(Config, result.stdout) == tree.override(configs.preset("demo"), expected)


def test_flags_override_settings_that_a_program_gives_in_place_of_a_preset():
    result = run_flags("--preset=auto", "--config.synthesis.steps=12", further='"auto"', base='preset("demo")')
    assert result.returncode == 0, result.stderr
    assert tree.from_json(Config, result.stdout) == tree.override(configs.preset("demo"), {"synthesis.steps": 12})
    assert "auto" in run_flags("--preset=auto").stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.data.crop_rows=1,many", "--config.data.crop_rows"),
        ("--config.data.regions={ET", "An example"),
        ("--config.synthesis.steps=many", "synthesis.steps"),
        ("--config.synthesis.colour=red", "synthesis.colour"),
        ("--preset=huge", "demo"),
    ],
)
def test_a_flag_that_cannot_be_read_is_refused_by_name(argument, message):
    result = run_flags(argument)
    assert result.returncode != 0 and message in result.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("background", "lesion")}, "holds label 2, but data.labels names 2 labels"),
        ({"modalities": ("t1", "background")}, "must not be called background"),
        ({"voxel_mm": (1.0, 0.0, 1.0)}, "three sizes"),
        ({"slices": (50, 105)}, "start, stop and a step"),
        ({"slices": (50, 105, 0)}, "start, stop and a step"),
        ({"image_size": (240,)}, "rows and columns"),
        ({"percentiles": (99.5, 0.5)}, "two between 0 and 100"),
        ({"percentiles": (99.5,)}, "two between 0 and 100"),
        ({"median": 1.0}, "between 0 and 1"),
        ({"median": -0.1}, "between 0 and 1"),
        ({"modalities": ("t1", "t1")}, "data.modalities repeats a name: t1, t1"),
    ],
)
def test_names_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        tree.override(configs.DataConfig(), changes)
