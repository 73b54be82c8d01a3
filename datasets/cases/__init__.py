"""Real cases as a TFDS data set."""

from datasets.cases.cases import Cases, CasesConfig, build

__all__ = ["Cases", "CasesConfig", "build"]
