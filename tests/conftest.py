"""What every test shares: two logical CPUs, fixed seeds, and the real cases where there are any."""

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As the programs do on x86.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# The tests look at what XLA computes, not how fast, and it compiles in half of the time so.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np
import pytest
import tensorflow as tf

REAL_CASES_VARIABLE = "MMSYNTH_BRATS"
LONGEST = ("test_ways_to_run.py", "test_notebook.py")
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Splits the CPU in two before TensorFlow initialises, so that MirroredStrategy is tested everywhere."""
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first, so that at the end no worker is alone with one."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Tests that draw from a global generator by way of a library see the same numbers every time."""
    random.seed(0)
    np.random.seed(0)
    tf.keras.utils.set_random_seed(0)


@pytest.fixture
def without_tracing() -> Iterator[None]:
    """See `training_checks.untraced`."""
    from tests.fakes import training_checks

    with training_checks.untraced():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_cases() -> Path:
    """Folder with BraTS cases: $MMSYNTH_BRATS, or ../shared/data/brats beside the repository."""
    folder = Path(os.environ.get(REAL_CASES_VARIABLE) or REPOSITORY.parent / "shared" / "data" / "brats")
    if not folder.is_dir():
        pytest.skip(f"No BraTS cases at {folder}; set {REAL_CASES_VARIABLE} to a folder with cases.")
    return folder


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory):
    """A prepared data set of six tiny cases: 16 x 16 pixels, four modalities, one region called "all"."""
    from datasets import cases as cases_builder
    from mmsynth_tf import prepared
    from mmsynth_tf.reading import releases
    from tests.fakes import fakes, fakes_cases

    cases, folder = tmp_path_factory.mktemp("cases"), tmp_path_factory.mktemp("prepared")
    for number in range(6):
        fakes_cases.write_nifti_case(cases, f"case_{number}_1", fakes_cases.volumes())
    data = dataclasses.replace(fakes_cases.DATA, image_size=(fakes.SIZE, fakes.SIZE), regions={"all": (1, 2, 4)})
    cases_builder.build(releases.find_cases(cases, data.modalities, None), data, folder, False, "made up")
    return prepared.open_prepared(folder)
