"""A picture in tiles is the picture as a whole."""

import copy
import gc
import weakref
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sim2real.devices import resolve_precision
from sim2real.engines.base import EngineSettings
from sim2real.engines.tiling import CannotTileError, FeatureMap, Grid, Region, TiledEngine, check_tiling
from sim2real.engines.torch import TorchEngine
from sim2real.networks import RangeAdapter

Make = Callable[[str, int], RangeAdapter]
Draw = Callable[[int, int], NDArray[np.uint8]]

KITTI = (1242, 375)


def differences(network: RangeAdapter, precision: str, before: NDArray[np.uint8], tile: int) -> NDArray[np.int64]:
    settings = EngineSettings(device="cpu", precision=precision)
    whole = TorchEngine(network, settings)(before).astype(int)
    assert whole.std() > 5, "a flat picture would prove nothing"
    return abs(TiledEngine(network, settings, tile)(before) - whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_make_the_picture_that_the_whole_makes(generator: str, precision: str, make: Make, picture: Draw) -> None:
    for size, tile in (((97, 61), 16), ((230, 101), 64), ((64, 48), 500), ((5, 3), 16)):
        assert differences(make(generator, 8), precision, picture(*size), tile).max() <= 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["vkitti2kitti", "default", "cyclegan"])
def test_frames_of_kitti_in_tiles(name: str, precision: str, make: Make, picture: Draw) -> None:
    assert differences(make(name, 8), precision, picture(*KITTI), 256).max() <= 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("size", [KITTI, (1914, 1052), (3840, 2160)])
def test_large_frames_in_tiles(
    generator: str, size: tuple[int, int], precision: str, make: Make, picture: Draw
) -> None:
    if precision == "bf16" and size > KITTI and resolve_precision("auto", "cpu") != "bf16":
        pytest.skip("this processor takes 150 times as long in bf16, which it has not itself")
    assert differences(make(generator, 32), precision, picture(*size), 512).max() <= 1


class Layer(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def changed_in_place(x: Tensor) -> Tensor:
    doubled = x * 2
    functional.relu(doubled, inplace=True)
    return doubled + x


@st.composite
def layers(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    """A layer for so many channels, and how many it makes."""
    after = draw(st.sampled_from([2, 4]))
    kernel, stride, dilation = draw(st.sampled_from([(1, 1, 1), (3, 1, 1), (3, 2, 1), (4, 2, 1), (3, 1, 2), (5, 3, 1)]))
    padding = draw(st.integers(0, 2))
    up_kernel, up_stride, extra = draw(st.sampled_from([(4, 2, 0), (3, 2, 1), (2, 3, 1), (1, 2, 1), (3, 1, 0)]))
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
    choices: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(
            channels,
            after,
            kernel,
            stride,
            padding,
            dilation,
            groups=2,
            padding_mode=mode,  # type: ignore[arg-type]  # one of those
        ),
        "same": lambda: nn.Conv2d(channels, after, kernel, padding="same", dilation=dilation),
        "transposed": lambda: nn.ConvTranspose2d(
            channels, after, up_kernel, up_stride, min(padding, up_kernel - 1), extra, dilation=1
        ),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
        "tracked": lambda: nn.InstanceNorm2d(channels, track_running_stats=True),
        "group": lambda: nn.GroupNorm(2, channels),
        "batch": lambda: nn.BatchNorm2d(channels),
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky": lambda: nn.LeakyReLU(0.2),
        "gelu": nn.GELU,
        "tanh": nn.Tanh,
        "reflected": lambda: nn.ReflectionPad2d((1, 2, 0, 1)),
        "zeros": lambda: nn.ZeroPad2d((2, 0, 1, 0)),
        "shifted": lambda: Layer(lambda x: functional.pad(1 - x / 3, (1, 1)) + 0.5),
        "nearest": lambda: nn.Upsample(scale_factor=2, mode="nearest"),
        "bilinear": lambda: nn.Upsample(scale_factor=3, mode="bilinear"),
        "skip": lambda: Layer(lambda x: x + functional.leaky_relu(x.clamp(-0.5, 0.5), -2.0)),
        "both": lambda: Layer(lambda x: torch.cat([x, -x], 1)[:, :, 1:]),
        "in place": lambda: Layer(
            lambda x: functional.relu(y, inplace=True) * 0 + y if (y := x * 2) is not None else x
        ),
        "scaled": lambda: Layer(lambda x: x * torch.arange(1.0, x.shape[1] + 1).reshape(1, -1, 1, 1)),
        "dropped": lambda: nn.Dropout(0.5),
    }
    name = draw(st.sampled_from(sorted(choices)))
    made = after if name in {"conv", "same", "transposed"} else 2 * channels if name == "both" else channels
    return choices[name](), made


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    torch.manual_seed(draw(st.integers(0, 99)))
    channels, parts = 4, []
    for _ in range(draw(st.integers(1, 5))):
        part, channels = draw(layers(channels))
        parts.append(part)
    return nn.Sequential(*parts).eval()


@pytest.mark.filterwarnings("ignore:Using padding=.same:UserWarning")  # of the whole one: it costs a copy there
@settings(deadline=None, max_examples=150)
@given(networks(), st.integers(6, 40), st.integers(6, 40), st.integers(1, 4), st.integers(1, 4))
def test_any_layers_over_any_tiles(network: nn.Sequential, height: int, width: int, rows: int, columns: int) -> None:
    inputs = torch.randn(1, 4, height, width)
    with torch.inference_mode():
        try:
            whole = network(inputs.clone())
        except RuntimeError:  # too small a map for one of the layers
            assume(False)
        rounding = float((copy.deepcopy(network).double()(inputs.double()) - whole).abs().max())  # of float32, whole
        grid = Grid(rows, columns, torch.device("cpu"), torch.contiguous_format)
        tiled = network(FeatureMap(inputs, grid))
        assert tiled.shape == whole.shape
        result = torch.empty_like(whole)
        for region in tiled.regions():
            top, bottom, left, right = region
            result[..., top:bottom, left:right] = tiled.read(region)
        far = tiled.read(Region(-3, whole.shape[2] + 2, -1, whole.shape[3] + 4))
    allowed = max(1e-4, 8 * rounding)  # some layers multiply it
    torch.testing.assert_close(result, whole, rtol=1e-4, atol=allowed)
    torch.testing.assert_close(far, functional.pad(whole, (1, 4, 3, 2)), rtol=1e-4, atol=allowed)


def attention(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return (flat.transpose(1, 2) @ flat).softmax(-1).mean() * x


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Layer(attention), "flatten"),
        (nn.AdaptiveAvgPool2d(1), "adaptive_avg_pool2d"),
        (nn.Upsample(scale_factor=1.5), "interpolate"),
        (nn.CircularPad2d(1), "pad"),
        (Layer(lambda x: x[:, :1]), "index"),
        (Layer(lambda x: x.T), "Tensor.T"),
        (Layer(lambda x: x + torch.ones(1, 1, 1, x.shape[3])), "different shapes"),
        (Layer(lambda x: torch.fft.fft2(x).real), "fft2"),
    ],
)
def test_what_cannot_be_tiled_is_named(layer: nn.Module, name: str) -> None:
    with pytest.raises(CannotTileError, match=name):
        check_tiling(nn.Sequential(nn.Conv2d(3, 3, 1), layer))


def test_maps_are_let_go_as_soon_as_nothing_reads_them() -> None:
    grid = Grid(2, 2, torch.device("cpu"), torch.contiguous_format)
    first = FeatureMap(torch.ones(1, 2, 8, 8), grid)
    watched = weakref.ref(first)
    gc.disable()
    try:
        second = functional.relu(functional.instance_norm(first), inplace=True) + 1  # type: ignore[arg-type]  # like a tensor
        del first
        assert watched() is None
        assert second.shape == (1, 2, 8, 8)
    finally:
        gc.enable()
