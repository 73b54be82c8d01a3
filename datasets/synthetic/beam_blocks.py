"""Blocks of synthetic samples made by the workers of Apache Beam."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.synthetic.blocks import Blocks, Generation

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.utils.shared import Shared


def make(blocks: Blocks, make_generation: Callable[[], Generation], count: int, options: "PipelineOptions") -> None:
    """Makes the blocks that hold the first `count` samples, as far as they are missing.

    How many these are is known only when they are made. So there are rounds, each of as many blocks as the finished
    ones let expect.

    Args:
      blocks: in a folder that all workers see.
      make_generation: makes the generators of `blocks` again, once in each process of the workers; pickled.
      count: number of samples.
      options: of the pipelines.

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
