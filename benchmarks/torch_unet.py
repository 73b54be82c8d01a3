"""The segmenter's step beside the same U-Net in PyTorch (`pip install -e '.[bench]'`)."""

import contextlib
import functools
import importlib.util
import logging
import multiprocessing
from collections.abc import Iterator

from benchmarks import stage_step, timing
from mmsynth_tf import constants
from mmsynth_tf.configs import Config, tree
from mmsynth_tf.storage.records import Record

_LOG = logging.getLogger(__name__)


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times a step of one modality's segmenter here, in eager PyTorch and under torch.compile."""
    if importlib.util.find_spec("torch") is None:
        _LOG.warning("No comparison with PyTorch: it is not installed (pip install -e '.[bench]').")
        return
    from benchmarks import torch_steps

    config = tree.override(config, {"data.modalities": ("t1",)})
    batch = stage_step.one_batch(constants.SEGMENTATION, config)
    image, label = (batch[name].numpy()[:, 0, ..., 0] for name in ("image", "label"))
    steps = {"mmsynth_tf": stage_step.Step(stage_step.model(constants.SEGMENTATION, config), batch)}
    # A process of its own: in one, the threads of either framework get in the way of the other's.
    with contextlib.closing(multiprocessing.get_context("spawn").Pool(1)) as process:
        process.apply(torch_steps.prepare, (config.segmentation, config.data.num_classes, image, label))
        for name in torch_steps.NAMES:
            steps[name] = functools.partial(process.apply, torch_steps.step, (name,))
        seconds = timing.interleaved(steps, rounds)
    for name, value in seconds.items():
        yield {
            "framework": name,
            "milliseconds": 1e3 * value,
            "slices_per_second": len(image) / value,
            "times_faster_here": value / seconds["mmsynth_tf"],
        }
