"""A segmentation network, and preprocessing that makes it independent of light."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597): images (N, 3, h, w) -> logits (N, classes, h, w).

    The sides of the images must be multiples of 16.

    Args:
        classes: Number of classes.
        width: Channels of the first layer.
    """

    stride = 16

    def __init__(self, classes: int, *, width: int = 16) -> None:
        super().__init__()
        widths = [width * depth for depth in (1, 2, 4, 6)]
        self.down = nn.ModuleList(_block(*some, stride=2) for some in pairwise([3, *widths]))
        self.up = nn.ModuleList(_block(below + above, above) for above, below in pairwise(widths))
        self.head = nn.Sequential(nn.Conv2d(width, 4 * classes, 1), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes, h, w) of images (N, 3, h, w)."""
        passed = [images]
        for down in self.down:
            passed.append(down(passed[-1]))
        below = passed.pop()
        for up in reversed(self.up):
            below = up(torch.cat([functional.interpolate(below, scale_factor=2), passed.pop()], dim=1))
        return cast("Tensor", self.head(below))


def _block(channels: int, wanted: int, *, stride: int = 1) -> nn.Sequential:
    """Return two convolutions, the first with the stride."""
    return nn.Sequential(
        nn.Conv2d(channels, wanted, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(wanted),
        nn.ReLU(inplace=True),
        nn.Conv2d(wanted, wanted, 3, padding=1, bias=False),
        nn.BatchNorm2d(wanted),
        nn.ReLU(inplace=True),
    )


def standardised(images: Tensor) -> Tensor:
    """Return images with each channel shifted and scaled to mean 0 and standard deviation 1."""
    spread, mean = torch.std_mean(images, dim=(2, 3), keepdim=True)
    return (images - mean) / spread.clamp(min=0.02)


def in_another_light(images: Tensor, random: torch.Generator) -> Tensor:
    """Vary tone curve, colour of light, haze, sharpness and noise of images (N, 3, h, w) in [0, 1] at random."""
    each = len(images), 1, 1, 1
    images = images ** _draw(random, -0.7, 0.7, *each).exp().to(images)
    images = images * _draw(random, 0.6, 1.3, len(images), 3, 1, 1).to(images) + _draw(random, 0, 0.3, *each).to(images)
    if _draw(random, 0, 1).item() < 0.5:
        images = gaussian_blur(images, [7, 7], [_draw(random, 0.3, 2).item()])
    grain = torch.randn(images.shape, generator=random).to(images)
    return (images + _draw(random, 0, 0.06, *each).to(images) * grain).clamp(0, 1)


def _draw(random: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.empty(shape).uniform_(low, high, generator=random)
