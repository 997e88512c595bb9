"""The one place where the program's image values, [-1, 1], meet a network's own range."""

from typing import Any

import torch
from torch import nn


class Ranged(nn.Module):
    """A network as the program sees it: images in [-1, 1], whatever ``value_range`` the network was made for.

    Attributes that are not its own are the network's (``stride``, ``score_weights`` ...), but for ``value_range``,
    which is (-1, 1). Weights are saved and loaded through ``network``, so that files do not know of the wrapper.
    With a range of (-1, 1) nothing is computed but the network.

    Args:
        network: Takes images (N, C, H, W) in its attribute ``value_range``, (-1, 1) if it has none.
        returns_images: Whether the output, too, is images in that range: true of generators, false of discriminators.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, network: nn.Module, *, returns_images: bool) -> None:
        super().__init__()
        self.network = network
        self.returns_images = returns_images
        low, high = getattr(network, "value_range", (-1.0, 1.0))
        self.scale = (high - low) / 2
        self.shift = (high + low) / 2

    def forward(self, images: torch.Tensor, **more: Any) -> Any:  # noqa: ANN401  images, a tensor of scores or a tuple
        """Images (N, C, H, W) in [-1, 1] -> what the network makes of them; images come back in [-1, 1].

        Args:
            images: What the network takes.
            more: What it takes besides, handed on as it is.
        """
        if (self.scale, self.shift) == (1.0, 0.0):
            return self.network(images, **more)
        result = self.network(images * self.scale + self.shift, **more)
        return (result - self.shift) / self.scale if self.returns_images else result

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the network has
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)
