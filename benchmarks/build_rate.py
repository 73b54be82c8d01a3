"""Samples of `datasets/build.py`, to be timed beside those of the SavedModel of the same networks."""

import dataclasses
import itertools
from pathlib import Path

from benchmarks import stage_step, waiting
from datasets.synthetic.blocks import Blocks
from mmsynth_tf import constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.generation import sampling

# Every draw becomes a sample, so that the rate says nothing about the quality of the networks. Each sample still goes
# through Algorithm 3, the choice of a label and the segmenters.
_KEEP_ALL = {"generation.mask_error": 1.0, "generation.map_quantile": 0.0}


class Build:
    """Builds samples from noise with untrained networks, from the draw to the records on disk.

    The real slices have no lesion, because a lesion rarely fits into the heads of untrained networks.

    Args:
      config: sizes.
      folder: gets data, networks and samples.
      samples: how many `make` makes; a multiple of the batch size.
    """

    def __init__(self, config: Config, folder: Path, samples: int):
        data = waiting.made_up_data(folder / "real", config.data, with_lesions=False)
        config = dataclasses.replace(tree.override(config, _KEEP_ALL), data=data.config)
        for stage in constants.PAPER_STAGES:
            run = stage_step.untrained(stage, config, folder / "run", [data.record])
            run.checkpoints.save(run.settings.steps)
        generation = sampling.Generation(folder / "run", data.path, config)
        # The segmenters are there and are asked, but reject nothing.
        generation.settings = dataclasses.replace(generation.settings, dice_threshold=0.0)
        generation.draws_per_block = samples
        self._blocks, self._numbers = Blocks(folder / "blocks", generation), itertools.count()

    def make(self) -> int:
        """Makes the next block; returns the number of its samples."""
        number = next(self._numbers)
        self._blocks.make_block(number)
        return self._blocks.read(number).counts["kept"]
