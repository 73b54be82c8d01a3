"""Generated slices as a TFDS data set."""

from datasets.synthetic.synthetic import Generation, Synthetic, SyntheticConfig, build

__all__ = ["Generation", "Synthetic", "SyntheticConfig", "build"]
