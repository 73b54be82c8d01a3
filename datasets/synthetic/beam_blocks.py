"""Generates blocks of synthetic samples on Apache Beam."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.synthetic.blocks import Blocks, Generation

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.utils.shared import Shared


def make(blocks: Blocks, make_generation: Callable[[], Generation], count: int, options: "PipelineOptions") -> None:
    """Makes the missing blocks of the first `count` samples.

    The number of samples in a block is known only after it is made. The function therefore works in rounds, and
    estimates the number of blocks of each round from the finished ones.

    Args:
      blocks: blocks in a folder that all workers can access.
      make_generation: makes the generators of `blocks`, once in each worker process; pickled.
      count: number of samples.
      options: options of the pipelines.

    Raises:
      GenerationError: the filters accept too few samples.
    """
    import apache_beam as beam
    from apache_beam.utils.shared import Shared

    while missing := blocks.expected(count):
        with beam.Pipeline(options=options) as pipeline:
            numbers = pipeline | beam.Create(missing) | beam.Reshuffle()
            _ = numbers | beam.Map(_make_block, blocks.folder, make_generation, Shared())


def _make_block(number: int, folder: Path, make_generation: Callable[[], Generation], shared: "Shared") -> None:
    shared.acquire(lambda: Blocks(folder, make_generation())).make_block(number)
