"""The bridge to frd-score, with a stand-in for the package."""

import numpy as np
import pytest

from mmsynth_tf.metrics import feature_extractors, radiomics_distance

# Difference of mean grey values in place of the distance.
_STAND_IN = """
import pathlib, cv2
def compute_frd(paths):
    means = [cv2.imread(str(f), cv2.IMREAD_UNCHANGED).mean() for p in paths for f in sorted(pathlib.Path(p).iterdir())]
    print("chatter")
    return means[-1] - means[0]
"""


def install(folder, text, monkeypatch):
    (folder / "frd_score.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_slices_reach_the_package_in_eight_bits(tmp_path, monkeypatch):
    install(tmp_path, _STAND_IN, monkeypatch)
    dark, bright = np.full((2, 8, 8), 0.2), np.full((3, 8, 8), 1.0, np.float16)
    assert radiomics_distance.frechet_radiomics_distance(dark, bright) == 255 - 51


def test_what_the_package_says_when_it_fails_is_passed_on(tmp_path, monkeypatch):
    install(tmp_path, "def compute_frd(paths): raise ValueError('no features')", monkeypatch)
    with pytest.raises(feature_extractors.UnavailableError, match="no features"):
        radiomics_distance.frechet_radiomics_distance(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(radiomics_distance.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(feature_extractors.UnavailableError, match="frd_score and radiomics"):
        radiomics_distance.require_packages()
