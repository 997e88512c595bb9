"""Reduced precision stays near, norms by strips are norms, and what runs twice is the same."""

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from numpy.typing import NDArray
from torch import nn

from sim2real.conversion.trial import psnr
from sim2real.engines.base import EngineSettings
from sim2real.engines.numerics import conv_transpose2d, moments, prepared
from sim2real.engines.torch import TorchEngine
from sim2real.errors import CannotCompileError
from sim2real.networks import RangeAdapter

Make = Callable[[str, int], RangeAdapter]
Draw = Callable[[int, int], NDArray[np.uint8]]


def test_bf16_is_at_least_45_db_from_fp32(generator: str, make: Make, picture: Draw) -> None:
    network, before = make(generator, 32), picture(320, 96)
    exact, fast, again = (
        TorchEngine(network, EngineSettings(device="cpu", precision=precision))(before)
        for precision in ("fp32", "bf16", "bf16")
    )
    assert psnr(fast, exact) >= 45
    assert np.array_equal(fast, again)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 3), (300, 200), (2, 20_000)])
def test_moments_are_those_of_the_whole_picture(height: int, width: int, layout: torch.memory_format) -> None:
    picture = torch.randn(1, 5, height, width).mul(0.1).add(torch.arange(5.0).reshape(1, 5, 1, 1))
    mean, variance = moments(picture.contiguous(memory_format=layout))
    torch.testing.assert_close(mean, picture.double().mean((0, 2, 3)).float())
    torch.testing.assert_close(variance, picture.double().var((0, 2, 3), correction=0).float(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_is_torchs(affine: bool) -> None:
    norm = nn.InstanceNorm2d(6, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    pictures = torch.randn(3, 6, 120, 90) * 3 + 2
    torch.testing.assert_close(prepared(nn.Sequential(norm))(pictures), norm(pictures), rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.integers(0, 4),
    output_padding=st.integers(0, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_transposed_convolutions_are_torchs(
    kernel: tuple[int, int], stride: tuple[int, int], padding: int, output_padding: int, size: tuple[int, int]
) -> None:
    assume(output_padding < min(stride) and padding < min(kernel))
    images, weight, bias = torch.randn(2, 3, *size), torch.randn(3, 4, *kernel), torch.randn(4)
    arguments = (bias, stride, (padding, padding), (output_padding, output_padding))
    try:
        expected = nn.functional.conv_transpose2d(images, weight, *arguments)
    except RuntimeError:  # nothing is left of so small a map
        assume(False)
    assume(expected.numel())
    torch.testing.assert_close(conv_transpose2d(images, weight, *arguments), expected, rtol=1e-4, atol=1e-5)


def test_transposed_convolutions_round_alike_in_every_size() -> None:
    """In bf16, where oneDNN's own do not."""
    images = torch.randn(1, 64, 96, 160).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 32, 3, 3).to(torch.bfloat16) / 16
    part = images[:, :, 20:70, 31:90].contiguous(memory_format=torch.channels_last)
    whole, tile = (conv_transpose2d(each, weight, None, (2, 2), (1, 1), (1, 1)) for each in (images, part))
    assert torch.equal(tile[:, :, 2:-2, 2:-2], whole[:, :, 42:138, 64:178])


def test_the_generator_is_left_as_it_was(make: Make) -> None:
    network = make("cyclegan", 4)
    before = str(network)
    TorchEngine(network, EngineSettings(device="cpu", precision="bf16"))
    assert str(network) == before
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_compiled_generator_makes_the_same_picture(make: Make, picture: Draw) -> None:
    network, before = make("default", 8), picture(64, 48)
    settings = EngineSettings(device="cpu", precision="bf16", compile=((64, 48),))
    compiled = TorchEngine(network, settings)
    exact = TorchEngine(network, EngineSettings(device="cpu", precision="fp32"))
    first = compiled(before)
    assert psnr(first, exact(before)) >= 45
    assert np.array_equal(first, compiled(before))
    assert np.array_equal(first, TorchEngine(network, settings)(before))
    other = picture(50, 30)
    assert psnr(compiled(other), exact(other)) >= 45


def test_a_compiler_that_fails_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no\ncompiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    with pytest.raises(CannotCompileError, match=r"cannot be compiled here: RuntimeError: no$"):
        TorchEngine(make("default", 4), EngineSettings(device="cpu", precision="fp32", compile=((32, 32),)))
