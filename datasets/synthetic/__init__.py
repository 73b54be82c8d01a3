"""Synthetic slices as a TFDS data set."""

from datasets.synthetic.blocks import Generation
from datasets.synthetic.synthetic import blocks_folder, build, make_blocks, make_blocks_on_beam

__all__ = ["Generation", "blocks_folder", "build", "make_blocks", "make_blocks_on_beam"]
