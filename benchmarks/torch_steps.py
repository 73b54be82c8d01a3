"""The U-Net of `networks.unet_encoder` and `unet_decoder` in PyTorch, trained with the segmenter's losses and Adam."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from mmsynth_tf.configs import SegmentationConfig

NAMES = ("PyTorch, eager", "PyTorch, torch.compile")

# Of this process: one for each name.
_STEPS: dict[str, Callable[[], float]] = {}


def prepare(settings: SegmentationConfig, classes: int, image: np.ndarray, label: np.ndarray) -> None:
    """Makes the steps that `step` runs, on a GPU where there is one, as TensorFlow does.

    Args:
      settings: filters, levels and learning rate.
      classes: K.
      image: float32 [B, H, W].
      label: integer [B, H, W].
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.from_numpy(image[:, None].copy()).to(device)
    truth = nn.functional.one_hot(torch.from_numpy(label.astype(np.int64)), classes).permute(0, 3, 1, 2)
    truth = truth.to(device, torch.float32)
    for name in NAMES:
        _STEPS[name] = _make_step(settings, images, truth, compiled=name.endswith("compile"))


def step(name: str) -> float:
    """Runs a training step; its loss."""
    return _STEPS[name]()


def _make_step(
    settings: SegmentationConfig, images: torch.Tensor, truth: torch.Tensor, compiled: bool
) -> Callable[[], float]:
    network = UNet(settings.base_filters, settings.levels, truth.shape[1]).to(truth.device)
    choices = settings.choices
    optimizer = torch.optim.Adam(network.parameters(), choices.learning_rate, (choices.beta_1, 0.999), 1e-7)
    evaluate = torch.compile(_loss) if compiled else _loss

    def train() -> float:
        optimizer.zero_grad()
        value = evaluate(network, images, truth)
        value.backward()
        optimizer.step()
        return float(value.detach())

    return train


def _loss(network: nn.Module, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Soft Dice and cross-entropy, as in `mmsynth_tf.models.losses`."""
    predicted = torch.softmax(network(images), dim=1)
    overlap, true_area, predicted_area = (x.sum((0, 2, 3))[1:] for x in (truth * predicted, truth, predicted))
    present = (true_area > 0).float()
    dice = present * (1 - 2 * overlap / (true_area + predicted_area + 1e-5))
    return dice.sum() / present.sum() - (truth * torch.log(predicted + 1e-7)).sum(1).mean()


class UNet(nn.Module):
    """[B, 1, H, W] to logits [B, classes, H, W]."""

    def __init__(self, base_filters: int, levels: int, classes: int):
        super().__init__()
        widths = [base_filters << level for level in range(levels)]
        self.down = nn.ModuleList(
            nn.Sequential(*_block(before, width, 1 if before == 1 else 2), *_block(width, width))
            for before, width in zip([1, *widths], widths, strict=False)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        joined = (nn.Sequential(*_block(2 * width, width), *_block(width, width)) for width in widths[:-1])
        self.up = nn.ModuleList(joined)
        self.score = nn.Conv2d(base_filters, classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = []
        for block in self.down:
            x = block(x)
            features.append(x)
        for finer, narrow, up in zip(features[-2::-1], self.narrow[::-1], self.up[::-1], strict=True):
            x = up(torch.cat([finer, nn.functional.interpolate(narrow(x), scale_factor=2)], dim=1))
        return self.score(x)


def _block(channels: int, filters: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
    return [conv, nn.InstanceNorm2d(filters, affine=True), nn.ReLU(inplace=True)]
