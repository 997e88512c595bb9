"""Check an engine against PyTorch."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sim2real.capabilities import PAST, Capabilities, capabilities
from sim2real.conversion.trial import psnr
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import PluginError
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.generators import EncoderDecoder
from sim2real.testing.samples import sample_inputs, sample_pictures

_SIZES: Final = ((96, 64), (101, 67))
_COUNT: Final = 3
_ONE_BY_ONE: Final = tuple(slice(place, place + 1) for place in range(_COUNT))


def check_engine(
    target: Callable[[nn.Module, EngineSettings], Callable[..., NDArray[np.uint8]]],
    generator: nn.Module | None = None,
    settings: EngineSettings | None = None,
    *,
    decibels: float = 45,
) -> None:
    """Make sure that an engine keeps the contract of ``register_engines`` and makes the same images as PyTorch.

    Args:
        target: The object that the plugin registers.
        generator: The generator that it runs, images in [-1, 1] in and out, with the labels, seeds, clips or earlier
            frames that it declares; default: a small one with random weights that declares none.
        settings: Settings of the engine; default: fp32 on the CPU.
        decibels: Required PSNR to PyTorch in fp32; from 45 on the engine may be selected automatically.

    Raises:
        AssertionError: If it does not; the message says why.
    """
    who = getattr(target, "__name__", repr(target))
    generator = (_generator() if generator is None else generator).eval()
    engine = target(generator, settings or EngineSettings(device="cpu", precision="fp32"))
    reference = TorchEngine(generator, EngineSettings(device="cpu", precision="fp32"))
    try:
        can = capabilities(generator)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    for size in _SIZES:
        pictures, more = _given(can, size)
        before = pictures.copy()
        made = engine(pictures, **more)
        if made.dtype != np.uint8 or made.shape != pictures.shape:
            raise AssertionError(f"{who}: makes {made.dtype} {made.shape} from uint8 {pictures.shape}")
        if not np.array_equal(pictures, before):
            raise AssertionError(f"{who}: changes the pictures that it is given")
        if np.shares_memory(made, pictures) or np.shares_memory(made, engine(pictures, **more)):
            raise AssertionError(f"{who}: the memory of its result is shared with its input or with another result")
        found = psnr(made, reference(pictures, **more))
        if found < decibels:
            raise AssertionError(
                f"{who}: on pictures of {size[0]}x{size[1]} it comes within {found:.1f} dB of PyTorch, not {decibels:g}"
            )
        alone = np.concatenate([engine(pictures[part], **_part(more, part)) for part in _ONE_BY_ONE])
        if np.abs(alone.astype(int) - made).max() > 1:
            raise AssertionError(f"{who}: its result for a picture depends on the others in its batch")


def _given(can: Capabilities, size: tuple[int, int]) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return images or clips, and the further arguments of an engine for a generator."""
    width, height = size
    pictures = np.stack([sample.picture for sample in sample_pictures(_COUNT * can.clip_length, size)])
    more: dict[str, Any] = {"seeds": np.arange(_COUNT, dtype=np.uint64)} if can.stochastic else {}
    lead: tuple[int, ...] = (_COUNT,)
    if can.clip_length > 1:
        lead = (_COUNT, can.clip_length)
        pictures = pictures.reshape(*lead, *pictures.shape[1:])
    if can.takes_inputs:
        labels = {kind: values.numpy() for kind, values in sample_inputs(can.inputs, lead, (height, width)).items()}
        past = np.repeat(pictures[:, None], can.context, axis=1)
        more["inputs"] = labels | (dict.fromkeys(PAST, past) if can.context else {})
    return pictures, more


def _part(more: dict[str, Any], part: slice) -> dict[str, Any]:
    found = {name: values[part] for name, values in more.items() if name != "inputs"}
    if "inputs" in more:
        found["inputs"] = {kind: values[part] for kind, values in more["inputs"].items()}
    return found


def _generator() -> nn.Module:
    torch.manual_seed(0)
    network = EncoderDecoder(3, 3, width=8, blocks=1)
    initialise(network, "xavier")
    return RangeAdapter(network, returns_images=True)
