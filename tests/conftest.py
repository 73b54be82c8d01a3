"""What every test shares: two logical CPUs, fixed seeds, and the real cases where there are any."""

import os
import random
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
import tensorflow as tf

REAL_CASES_VARIABLE = "MMSYNTH_BRATS"
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Splits the CPU in two before TensorFlow initialises, so that MirroredStrategy is tested everywhere."""
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Tests that draw from a global generator by way of a library see the same numbers every time."""
    random.seed(0)
    np.random.seed(0)
    tf.keras.utils.set_random_seed(0)


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
