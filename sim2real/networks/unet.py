"""The U-Net generator of pix2pix."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError
from sim2real.networks.blocks import NormName, check_counts, stage


class UNet(nn.Module):
    """The U-Net of pix2pix (Isola et al. 2017, junyanz/pytorch-CycleGAN-and-pix2pix): (N, C, H, W) -> (N, C, H, W).

    Each stage halves the map by a 4x4 convolution of stride 2; each stage back doubles it by a transposed one and also
    sees the map of that size from the way down. With ``stages=8, norm="batch"``, the reference's ``unet_256``, it has
    54,413,955 parameters; with ``stages=7``, its ``unet_128``, 41,828,995. The reference's dropout is left out: it has
    no weights and no effect on a trained network.

    Args:
        in_channels: Channels of the input images.
        out_channels: Channels of the output images.
        width: Channels after the first stage; each further stage doubles them, up to eight times this number.
        stages: Number of stages, at least 2; H and W must be multiples of ``2 ** stages``.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.

    Attributes:
        stride: Number of which H and W of the images must be multiples.
        value_range: Minimum and maximum of the values of input and output images.
        whole: Every pixel depends on the whole image, so images are not translated in tiles.

    Raises:
        SettingsError: If an option is out of range.
    """

    value_range = (-1.0, 1.0)
    whole = True

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        stages: int = 8,
        norm: NormName = "batch",
    ) -> None:
        check_counts(width=width, stages=stages)
        if stages < 2:
            raise SettingsError(f"stages = {stages} must be at least 2")
        super().__init__()
        self.stride = 2**stages
        bias = norm == "instance"
        channels = [width * min(2**index, 8) for index in range(stages)]
        self.down = nn.ModuleList([nn.Conv2d(in_channels, width, 4, stride=2, padding=1, bias=bias)])
        self.up = nn.ModuleList()
        for number, (before, after) in enumerate(pairwise(channels), 2):
            innermost = number == stages
            conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=bias)
            back = nn.ConvTranspose2d(after * (1 if innermost else 2), before, 4, stride=2, padding=1, bias=bias)
            self.down.append(stage(conv, after, "none" if innermost else norm, None))  # a map of one pixel has no norm
            self.up.insert(0, stage(back, before, norm, None))
        self.up.append(nn.ConvTranspose2d(2 * width, out_channels, 4, stride=2, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return translations (N, out_channels, H, W) of images (N, in_channels, H, W), both in [-1, 1]."""
        maps = [self.down[0](images)]
        for halved in self.down[1:]:
            maps.append(halved(functional.leaky_relu(maps[-1], 0.2)))
        result = maps.pop()
        for doubled in self.up:
            result = doubled(functional.relu(result))
            if maps:
                result = torch.cat([maps.pop(), result], 1)
        return torch.tanh(result)
