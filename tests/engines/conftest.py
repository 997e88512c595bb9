from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.generators import EncoderDecoder, Generator, ResNet

GENERATORS: dict[str, Callable[[int], Generator]] = {
    "vkitti2kitti": lambda width: EncoderDecoder(width=width),
    "clamped": lambda width: EncoderDecoder(width=width, output="clamped_tanh"),
    "monet2photo": lambda width: EncoderDecoder(
        width=width, stages=3, blocks=6, norm="batch", activation="relu", output="tanh"
    ),
    "default": lambda width: EncoderDecoder(width=width, stages=2, blocks=6, output="residual"),
    "cyclegan": lambda width: ResNet(width=width),
    "resnet-6-batch": lambda width: ResNet(width=width, blocks=6, norm="batch"),
    "resnet-none-residual": lambda width: ResNet(width=width, blocks=3, norm="none", output="residual"),
    "resized": lambda width: EncoderDecoder(
        width=width, stages=2, blocks=2, norm="none", output="residual", up="resize", down="blur"
    ),
    "resnet-resized": lambda width: ResNet(width=width, blocks=3, up="resize", down="blur"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with a parameter ``generator`` for each name in ``GENERATORS``."""
    if "generator" in metafunc.fixturenames:
        metafunc.parametrize("generator", GENERATORS)


@pytest.fixture(scope="session")
def make() -> Callable[[str, int], RangeAdapter]:
    """Make a generator with weights and statistics as after a training: ``make(name, width)``."""

    def build(name: str, width: int) -> RangeAdapter:
        torch.manual_seed(0)
        network = GENERATORS[name](width)
        initialise(network, "normal" if isinstance(network, ResNet) else "xavier")  # as their recipes do
        for module in network.modules():
            if getattr(module, "keeps_own_init", False) and not isinstance(module, Generator):
                assert isinstance(module.weight, Tensor)
                nn.init.normal_(module.weight, 0, 0.02)
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        return RangeAdapter(network, returns_images=True)

    return build


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], NDArray[np.uint8]]:
    """``picture(W, H)``: (1, H, W, 3), gradients, edges and noise, different in every corner."""

    def draw(width: int, height: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / (7 + 3 * c) + c) * np.cos(y / (11 - 2 * c)) + (x * y % (37 + c) < 9) for c in range(3)]
        shade = np.stack(waves, -1) * 60 + (x / width * 90)[..., None] + (y / height * 60)[..., None]
        noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
        return np.asarray((shade + noise).clip(0, 255), np.uint8)[None]

    return draw
