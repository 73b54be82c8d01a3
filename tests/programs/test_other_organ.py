"""docs/bring_your_own_data.md, run: another organ, three modalities, one lesion label, slices that are not square."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from datasets import cases as cases_builder
from datasets import check, synthetic
from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments import segmentation, study
from mmsynth_tf.generation import sampling
from mmsynth_tf.reading import releases
from mmsynth_tf.storage import atomic
from mmsynth_tf.training import devices, runs
from tests.fakes import fakes, training_checks

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = (REPOSITORY / "docs" / "bring_your_own_data.md").read_text(encoding="utf-8")
# The guide's sizes, small.
SIZE = {
    "data.slices": (1, 9, 1),
    "data.crop_rows": (6, 46),
    "data.crop_columns": (4, 52),
    "data.image_size": (40, 48),
    "data.voxel_mm": (12.0, 6.0, 6.0),
}
GRID = ("56,52,10", "6,6,12")
AIR = -1024


def code_block(language):
    """The guide's one block of code in a language."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return block


def write_patient(folder, number):
    """A body with an organ and a lesion in it: CT in Hounsfield units, PET in floats, MRI; no two patients alike."""
    rng = np.random.default_rng(number)
    shape = rng.integers((60, 50, 12), (70, 60, 15))
    spacing = np.array([5.0, 5.0, 10.0])
    # Millimetres from the middle: to the left, to the back, to the head.
    x, y, z = ((index - (size - 1) / 2) * mm for index, size, mm in zip(np.indices(shape), shape, spacing, strict=True))
    body = (x / 130) ** 2 + (y / 100) ** 2 < 1
    organ = ((x + 50) / 60) ** 2 + (y / 50) ** 2 + (z / 60) ** 2 < 1
    lesion = (x + 50 + rng.uniform(-10, 10)) ** 2 + y**2 + z**2 < 25**2
    values = {"ct": (AIR, 0, 60, 30), "pet": (0.0, 0.5, 2.0, 9.5), "t2": (0, 300, 150, 700)}
    volumes = {"seg": lesion.astype(np.uint8)}
    for name, (outside, *inside) in values.items():
        picture = np.select([lesion, organ, body], inside[::-1], outside)
        texture = rng.normal(0, 0.02 * np.ptp(inside), shape)
        volumes[name] = np.where(body, picture + texture, outside).astype(np.float32 if name == "pet" else np.int16)
    case = f"p{number:03d}"
    (folder / case).mkdir(parents=True)
    affine = np.diag([*(-spacing[:2]), spacing[2], 1])
    for name, volume in volumes.items():
        nibabel.save(nibabel.Nifti1Image(volume, affine), folder / case / f"{case}_{name}.nii.gz")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The guide's flag file, with small slices."""
    flag_file = tmp_path_factory.mktemp("flags") / "abdomen.flags"
    flag_file.write_text(code_block("text"), encoding="utf-8")
    code = (
        "import sys; from absl import flags; from mmsynth_tf.configs import flags as config_flags, tree;"
        "config_flags.define_config_flags(); flags.FLAGS(sys.argv);"
        "print(tree.to_json(config_flags.config_from_flags()))"
    )
    command = [sys.executable, "-c", code, f"--flagfile={flag_file}"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return tree.override(tree.from_json(configs.Config, result.stdout), SIZE)


@pytest.fixture(scope="module")
def cases(tmp_path_factory, config):
    """Patients that lay on grids of their own, brought to one by the guide's script."""
    folder = tmp_path_factory.mktemp("abdomen")
    for number in range(4):
        write_patient(folder / "patients", number)
    (folder / "one_grid.py").write_text(code_block("python"), encoding="utf-8")
    subprocess.run([sys.executable, "one_grid.py", "patients", "one_grid", *GRID], cwd=folder, check=True)
    return releases.find_cases(folder / "one_grid", config.data.modalities, "custom")


@pytest.fixture(scope="module")
def real(cases, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "abdomen"
    with atomic.new_folder(folder, constants.DATA_SET_RECORD) as scratch:
        cases_builder.build(cases, config.data, scratch, allow_incomplete=False, release="custom")
    assert not tfds.builder_from_directory(str(folder)).info.citation  # It is not BraTS.
    return prepared.open_prepared(folder)


@pytest.fixture(scope="module")
def workdir(real, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch, training_checks.untraced():
        patch.setattr(devices, "strategy", tf.distribute.get_strategy)
        for stage in constants.STAGES:
            runs.train(stage, tiny(config), [real], folder)
    return folder


def tiny(config):
    """The configuration with networks that are built and trained fast, for two steps; filters that let all pass."""
    filters = {
        "generation__batch_size": 4,
        "generation__mask_error": 1.0,
        "generation__map_quantile": 0.0,
        "generation__dice_threshold": 0.0,
    }
    fast = {
        "synthesis__choices__pretrained_lesion": True,
        "synthesis__choices__weights": dict.fromkeys(
            ("self_reconstruction", "self_reconstruction_lesion", "self_structure"), 0.0
        ),
        "synthesis__choices__residual_blocks": 0,
    }
    small = fakes.tiny_config(3, 2, **fakes.short_runs(steps=2, interval=2), **filters, **fast)
    return dataclasses.replace(small, data=config.data, augmentation=config.augmentation)


def test_the_check_only_warns_that_ct_has_negative_values(cases, config):
    found = releases.search_cases(cases[0].images["ct"].path.parents[1], config.data.modalities, "custom")
    problems = check.check_cases(found, config.data, allow_incomplete=False)
    assert [problem.file for problem in problems] == [f"{case.case_id}_ct.nii.gz" for case in cases]
    assert all(problem.is_warning and "values are negative" in problem.text for problem in problems)


def test_slices_have_the_modalities_labels_and_size_of_the_guide(real):
    examples = list(real.slices("train").as_numpy_iterator())
    assert real.config.modalities == ("ct", "pet", "t2")
    assert examples[0]["image"].shape == (3, 40, 48, 1)
    assert all(example["available"].all() for example in examples)
    assert set(np.unique([example["label"] for example in examples])) == {0, 1}


def test_air_is_background_and_the_lesion_lies_at_the_patients_right_inside_the_body(real):
    for example in real.slices("train").as_numpy_iterator():
        ct, lesion = example["image"][0, ..., 0], example["label"][..., 0] > 0
        assert not ct[[0, -1]].any()
        assert ct[20, 24] > 0
        assert (ct[lesion] > 0).all()
        assert not lesion[:, 24:].any()


def test_the_whole_pipeline_runs(real, workdir, config, tmp_path):
    generation = sampling.Generation(str(workdir), str(real.path), tiny(config))
    output = tmp_path / "synthetic"
    with atomic.new_folder(output, constants.DATA_SET_RECORD) as folder:
        synthetic.build(generation, 4, output, folder)
    made = prepared.open_prepared(output)
    example = next(made.slices("train").as_numpy_iterator())
    assert example["image"].shape == (3, 40, 48, 1)
    assert example["dice"].shape == (3,)
    table = segmentation.run(study.Request(workdir, real))["table"]
    assert table.header == ["test_data", "design", "modality", "lesion"]
    assert [row[1:3] for row in table.rows] == [
        ["joint", "all"],
        *(["4seg", modality] for modality in ("ct", "pet", "t2", "all")),
    ]
