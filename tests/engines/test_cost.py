"""Memory and work of a generator, foreseen."""

import pytest
import torch
from torch import Tensor, nn

from sim2real.engines.cost import cost_of
from sim2real.networks.generators import EncoderDecoder, ResNet


def test_the_work_is_that_of_the_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 4, stride=2, padding=1))
    assert cost_of(network).work == 3 * 8 * 9 + 8 * 16 * 16 / 4


def test_the_memory_is_that_of_the_maps_that_live_together() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 3, 1))
    assert cost_of(network).memory == 4 * (3 + 8 + 8)

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network

        def forward(self, x: Tensor) -> Tensor:
            first = self.layers[0](x)
            return torch.cat([first, self.layers[1](first)], 1)

    assert cost_of(Skip()).memory == 4 * (3 + 8 + 8 + 16)


def test_twice_the_width_needs_twice_the_memory_and_four_times_the_work() -> None:
    for network in (EncoderDecoder, ResNet):
        narrow, wide = cost_of(network(width=16)), cost_of(network(width=32))
        image = 4 * 3
        assert wide.memory - image == pytest.approx(2 * (narrow.memory - image), rel=0.02)
        assert 3 < wide.work / narrow.work < 4


def test_a_network_may_look_at_values() -> None:
    class Curious(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.mean() > 0 else -x

    assert cost_of(Curious()).memory == pytest.approx(4 * (3 + 3), rel=0.01)
