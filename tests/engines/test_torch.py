import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from torch import nn

from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import Sim2RealError
from sim2real.networks.generators import EncoderDecoder, ResNet
from sim2real.networks.range_adapter import RangeAdapter

CPU = EngineSettings(device="cpu", precision="fp32")


class Spy(nn.Module):
    """Changes nothing, and keeps what it was given."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def __deepcopy__(self, memo: object) -> "Spy":
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images.clone()
        return images


def pictures(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 4, 16, 32]))
def test_any_size_is_padded_by_reflection_and_comes_back(height: int, width: int, stride: int) -> None:
    spy = Spy(stride)
    before = pictures(2, height, width)
    assert np.array_equal(TorchEngine(spy, CPU)(before), before)
    seen = ((spy.seen + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert seen.shape[1] % stride == seen.shape[2] % stride == 0
    assert seen.shape[1] < height + stride
    assert seen.shape[2] < width + stride
    rows, columns = (_reflected(after, n) for after, n in zip(seen.shape[1:3], (height, width), strict=True))
    assert np.array_equal(seen, before[:, rows][:, :, columns])


def _reflected(length: int, n: int) -> list[int]:
    """0 1 2 3 2 1 0 1 2 ...: where the pixels of a line of n come from when it is reflected at both ends."""
    there_and_back = [*range(n), *range(n - 2, 0, -1)]
    return [there_and_back[i % len(there_and_back)] for i in range(length)]


@pytest.mark.parametrize("network", [EncoderDecoder(width=4), ResNet(width=4, blocks=1)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 17)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_picture_does_not_depend_on_its_company(network: nn.Module, size: tuple[int, int], precision: str) -> None:
    engine = TorchEngine(RangeAdapter(network, returns_images=True), EngineSettings(device="cpu", precision=precision))
    batch = pictures(3, *size)
    others = pictures(3, *size, seed=1)
    others[1] = batch[2]
    result = engine(batch)
    assert result.shape == batch.shape
    assert np.array_equal(engine(others)[1], result[2])


def test_reduced_precision_stays_near() -> None:
    torch.manual_seed(0)
    network = RangeAdapter(ResNet(width=8, blocks=2), returns_images=True)
    exact, reduced = (
        TorchEngine(network, EngineSettings(device="cpu", precision=precision))(pictures(1, 40, 56)).astype(int)
        for precision in ("fp32", "bf16")
    )
    error = np.mean((exact - reduced) ** 2)
    assert 10 * np.log10(255**2 / error) > 40


def test_values_that_are_not_finite_are_no_picture() -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images / 0 * 0

    with pytest.raises(Sim2RealError, match="not finite"):
        TorchEngine(Broken(), CPU)(pictures(1, 4, 4))
