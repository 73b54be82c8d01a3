"""Fréchet radiomics distance (Konz et al., 2026, arXiv:2412.01496), with the optional package `frd-score`."""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import cv2
import numpy as np

from mmsynth_tf.metrics.feature_extractors import UnavailableError

_PACKAGES = ("frd_score", "radiomics")
# Runs in a separate process, because the package forks, which may break TensorFlow's threads.
_PROGRAM = "import sys, frd_score; print(); print(frd_score.compute_frd(sys.argv[1:3]))"


def require_packages() -> None:
    """Checks that the package and PyRadiomics, which it depends on, are installed.

    Raises:
      UnavailableError: a package is missing; the message names it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"{' and '.join(missing)} cannot be imported; install frd-score, and PyRadiomics from its repository"
        )


def frechet_radiomics_distance(reference: Iterable[np.ndarray], slices: Iterable[np.ndarray]) -> float:
    """FRD version 1 with the package's default settings: the logarithm of the squared Fréchet distance.

    Args:
      reference: slices, float [H, W] in [0, 1]; their features set the normalisation.
      slices: slices to compare with them.

    Raises:
      UnavailableError: the package failed; the message contains the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        folders = [pathlib.Path(folder, name) for name in ("reference", "slices")]
        for path, images in zip(folders, (reference, slices), strict=True):
            path.mkdir()
            for number, image in enumerate(images):
                cv2.imwrite(str(path / f"{number:06d}.png"), np.round(image.astype(np.float64) * 255).astype(np.uint8))
        command = [sys.executable, "-c", _PROGRAM, *map(str, folders)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UnavailableError(f"frd-score failed: {result.stderr.strip()[-500:]}")
    return float(result.stdout.split()[-1])
