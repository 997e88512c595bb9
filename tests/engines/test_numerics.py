"""Reduced precision stays near, norms by strips are norms, and what runs twice is the same."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sim2real.conversion.trial import psnr
from sim2real.engines.base import EngineSettings
from sim2real.engines.numerics import moments, prepared
from sim2real.engines.torch import TorchEngine
from sim2real.errors import CannotCompileError
from sim2real.networks import Ranged

Make = Callable[[str, int], Ranged]
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
