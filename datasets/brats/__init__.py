"""Real cases as a TFDS data set."""

from datasets.brats.brats import Brats, BratsConfig, build

__all__ = ["Brats", "BratsConfig", "build"]
