"""What a user has set for other projects of Keras changes nothing here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# A program's start, then a network, as every program builds it.
PROGRAM = """
from mmsynth_tf import program

def main(argv):
    import tensorflow as tf
    from mmsynth_tf.models import layers
    from mmsynth_tf import compat
    x = tf.keras.Input((8, 8, 3))
    y = layers.InstanceNormalization()(tf.keras.layers.Conv2D(5, 3, padding="same")(x))
    model = tf.keras.Model(x, y)
    model.compile("sgd", "mse")
    batches = tf.data.Dataset.from_tensors((tf.zeros([1, 8, 8, 3]), tf.zeros([1, 8, 8, 5])))
    history = model.fit(batches.repeat(), steps_per_epoch=2, epochs=2, verbose=0)
    print(model.output_shape[1:], model.compute_dtype, tf.keras.backend.epsilon(), int(model.optimizer.iterations))

program.run(main)
"""
# Each of them alone would change what the program prints, so one process shows several.
KERAS_FILE = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.001}
VARIABLES = [
    {"KERAS_BACKEND": "torch", "TF_USE_LEGACY_KERAS": "True"},
    {"KERAS_NNX_ENABLED": "true", "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"},
]


def output(home: Path, variables: dict[str, str]) -> str:
    environment = {**os.environ, "KERAS_HOME": str(home), "PYTHONPATH": str(REPOSITORY), **variables}
    # What the tests' own process was given must not hide what is missing.
    environment = {k: v for k, v in environment.items() if k in variables or k != "KERAS_BACKEND"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_a_keras_file_of_another_project_changes_nothing(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(KERAS_FILE))
    assert output(tmp_path, {}) == "(8, 8, 5) float32 1e-07 4"


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_variables_of_another_project_change_nothing(tmp_path, variables):
    assert output(tmp_path, variables) == "(8, 8, 5) float32 1e-07 4"
