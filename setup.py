"""Packaging of mmsynth_tf. The TensorFlow stack follows from the Python version."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

OLD_PYTHON = 'python_version < "3.12"'
NEW_PYTHON = 'python_version >= "3.12"'


def read_version() -> str:
    """The version, read from the source because importing it may need what is not installed yet."""
    source = (ROOT / "mmsynth_tf" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE).group(1)


def on(marker: str, *requirements: str) -> list[str]:
    return [f"{requirement}; {marker}" for requirement in requirements]


INSTALL_REQUIRES = [
    # TensorFlow 2.15 is the last with Keras 2 and the last that TensorFlow Addons works with.
    *on(
        OLD_PYTHON,
        "tensorflow>=2.15.1,<2.16",
        "tensorflow-addons==0.23.*",
        "numpy<2",
        "opencv-python-headless>=4.8,<4.12",  # 4.12 needs NumPy 2.
        "tensorflow-metadata<1.16",  # 1.16 needs a newer protobuf than TensorFlow 2.15 allows.
    ),
    *on(
        NEW_PYTHON,
        "tensorflow>=2.21,<2.22",
        "tensorboard>=2.20,<2.22",  # TensorFlow 2.21 no longer brings it; without it tf.summary raises.
        "opencv-python-headless>=4.10",
    ),
    "tensorflow-datasets>=4.9",
    "importlib_resources",  # tensorflow-datasets 4.9 imports it without requiring it on Python 3.12 and later.
    "absl-py",
    "isal>=1.5",  # Unpacks gzip faster than zlib; most of the time that reading cases takes.
    "matplotlib>=3.7",
    "nibabel>=5",
    "numpy",
    "scipy>=1.10",
    "surface-distance-based-measures==0.1",
    "tqdm",
]

MHA = ["SimpleITK>=2.2"]
NOTEBOOK = ["ipykernel", "nbclient"]
PHANTOM = ["nilearn>=0.10"]
EXTRAS_REQUIRE = {
    "beam": ["apache-beam>=2.77,<3"],
    "gpu": [
        *on(OLD_PYTHON, "tensorflow[and-cuda]>=2.15.1,<2.16"),
        *on(NEW_PYTHON, "tensorflow[and-cuda]>=2.21,<2.22"),
    ],
    "bench": ["torch==2.13.*"],  # For the comparison with PyTorch; torch.compile also wants a C++ compiler.
    # PyRadiomics, which it needs, is to be installed from its repository: its releases do not build on these Pythons.
    "frd": ["frd-score>=1.0.1"],
    "mha": MHA,
    "monai": ["monai>=1.3"],  # For the test that MONAI reads what `mmsynth sample` writes.
    "mutation": ["cosmic-ray>=8.4,<9"],  # For tools/mutation.py.
    "notebook": NOTEBOOK,
    "phantom": PHANTOM,
    "tests": [
        "dill",
        "pytest>=8",
        "pytest-xdist",
        "ruff>=0.15,<0.18",
        "scikit-image>=0.22",
        "scikit-learn",
        *MHA,
        *NOTEBOOK,
        *PHANTOM,
    ],
}

setup(
    name="mmsynth_tf",
    version=read_version(),
    description="Synthesis of registered multimodal MRI with lesion labels, in TensorFlow 2 and Keras",
    license="Apache-2.0",
    packages=find_packages(include=["mmsynth_tf", "mmsynth_tf.*"]),
    entry_points={"console_scripts": ["mmsynth = mmsynth_tf.cli.main:main"]},
    package_data={"mmsynth_tf.patients.viewer": ["*.css", "*.html", "*.js"]},
    python_requires=">=3.10,<3.14",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
)
