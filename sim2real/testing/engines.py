"""An engine beside PyTorch."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sim2real.engines.base import Engine, EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.networks import Ranged, initialise
from sim2real.networks.generators import EncoderDecoder
from sim2real.testing.samples import sample_pictures

_SIZES: Final = ((96, 64), (101, 67))


def check_engine(
    target: Callable[[nn.Module, EngineSettings], Engine],
    generator: nn.Module | None = None,
    settings: EngineSettings | None = None,
    *,
    decibels: float = 45,
) -> None:
    """Make sure that an engine keeps the contract of ``register_engines`` and makes PyTorch's pictures.

    Args:
        target: What the plugin registers.
        generator: What it runs, images in [-1, 1] in and out; a small one with random weights if left out.
        settings: Of the engine; fp32 on the CPU if left out.
        decibels: How near it comes to PyTorch in fp32: of 45 or more it may be chosen automatically.

    Raises:
        AssertionError: It does not, and why.
    """
    who = getattr(target, "__name__", repr(target))
    generator = (_generator() if generator is None else generator).eval()
    engine = target(generator, settings or EngineSettings(device="cpu", precision="fp32"))
    reference = TorchEngine(generator, EngineSettings(device="cpu", precision="fp32"))
    for size in _SIZES:
        pictures = np.stack([sample.picture for sample in sample_pictures(3, size)])
        before = pictures.copy()
        made = engine(pictures)
        if made.dtype != np.uint8 or made.shape != pictures.shape:
            raise AssertionError(f"{who}: makes {made.dtype} {made.shape} of uint8 {pictures.shape}")
        if not np.array_equal(pictures, before):
            raise AssertionError(f"{who}: changes the pictures that it is given")
        if np.shares_memory(made, pictures) or np.shares_memory(made, engine(pictures)):
            raise AssertionError(f"{who}: what it returns is not in memory of its own")
        found = _nearness(made, reference(pictures))
        if found < decibels:
            raise AssertionError(
                f"{who}: on pictures of {size[0]}x{size[1]} it comes within {found:.1f} dB of PyTorch, not {decibels:g}"
            )
        alone = np.concatenate([engine(pictures[place : place + 1]) for place in range(len(pictures))])
        if np.abs(alone.astype(int) - made).max() > 1:
            raise AssertionError(f"{who}: what becomes of a picture depends on the others in its batch")


def _generator() -> nn.Module:
    torch.manual_seed(0)
    network = EncoderDecoder(3, 3, width=8, blocks=1)
    initialise(network, "xavier")
    return Ranged(network, returns_images=True)


def _nearness(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio."""
    error = float(np.square(made.astype(np.float64) - wanted).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
