"""The segmenter's step beside the same U-Net in PyTorch (`pip install -e '.[bench]'`)."""

import importlib.util
import logging
from collections.abc import Callable, Iterator

from benchmarks import stage_step, timing
from mmsynth_tf import configs, constants
from mmsynth_tf.configs import Config
from mmsynth_tf.records import Record

_LOG = logging.getLogger(__name__)


def run(config: Config, rounds: int) -> Iterator[Record]:
    """Times a step of one modality's segmenter here, in eager PyTorch and under torch.compile."""
    if importlib.util.find_spec("torch") is None:
        _LOG.warning("No comparison with PyTorch: it is not installed (pip install -e '.[bench]').")
        return
    config = configs.override(config, {"data.modalities": ("t1",), "segmentation.cosine_decay": False})
    batch = stage_step.one_batch(constants.SEGMENTATION, config)
    own = stage_step.Step(stage_step.model(constants.SEGMENTATION, config), batch)
    image, label = batch["image"].numpy()[:, 0, ..., 0], batch["label"].numpy()[:, 0, ..., 0]
    steps = {"mmsynth_tf": own, "PyTorch, eager": torch_step(config, image, label, compiled=False)}
    steps["PyTorch, torch.compile"] = torch_step(config, image, label, compiled=True)
    seconds = timing.interleaved(steps, rounds)
    for name, value in seconds.items():
        rate = len(image) / value
        yield {
            "framework": name,
            "milliseconds": 1e3 * value,
            "slices_per_second": rate,
            "rate_of_mmsynth_tf": value / seconds["mmsynth_tf"],
        }


def torch_step(config: Config, image, label, compiled: bool) -> Callable[[], float]:
    """A step of the U-Net of `networks.unet_encoder` and `unet_decoder` with the segmenter's losses and Adam.

    Args:
      config: filters, levels, losses and learning rate.
      image: float32 [B, H, W].
      label: integer [B, H, W].
      compiled: with torch.compile.
    """
    import torch

    settings, classes = config.segmentation, config.data.num_classes
    network = unet(settings.base_filters, settings.levels, classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, (settings.beta_1, 0.999), 1e-7)
    images = torch.from_numpy(image[:, None].copy()).to(memory_format=torch.channels_last)
    truth = torch.nn.functional.one_hot(torch.from_numpy(label.astype("int64")), classes).permute(0, 3, 1, 2).float()

    def loss() -> torch.Tensor:
        predicted = torch.softmax(network(images), dim=1)
        overlap = (truth * predicted).sum((0, 2, 3))[1:]
        areas = truth.sum((0, 2, 3))[1:], predicted.sum((0, 2, 3))[1:]
        present = (areas[0] > 0).float()
        dice = 1 - 2 * overlap / (areas[0] + areas[1] + 1e-5)
        cross_entropy = -(truth * torch.log(predicted + 1e-7)).sum(1).mean()
        return (present * dice).sum() / present.sum() + cross_entropy

    evaluate = torch.compile(loss) if compiled else loss

    def step() -> float:
        optimizer.zero_grad()
        value = evaluate()
        value.backward()
        optimizer.step()
        return float(value)

    return step


def unet(base_filters: int, levels: int, classes: int):
    """[B, 1, H, W] to logits [B, classes, H, W]."""
    import torch
    from torch import nn

    def conv(channels: int, filters: int, stride: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        return [layer, nn.InstanceNorm2d(filters, affine=True), nn.ReLU(inplace=True)]

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [base_filters << level for level in range(levels)]
            above = [1, *widths]
            self.down = nn.ModuleList(
                nn.Sequential(*conv(above[i], width, 2 if i else 1), *conv(width, width))
                for i, width in enumerate(widths)
            )
            self.narrow = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
            self.up = nn.ModuleList(
                nn.Sequential(*conv(2 * width, width), *conv(width, width)) for width in widths[:-1]
            )
            self.score = nn.Conv2d(base_filters, classes, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features = []
            for block in self.down:
                x = block(x)
                features.append(x)
            for level in reversed(range(levels - 1)):
                x = nn.functional.interpolate(self.narrow[level](x), scale_factor=2)
                x = self.up[level](torch.cat([features[level], x], dim=1))
            return self.score(x)

    return UNet()
