"""The precision of a training, and whether it is compiled, found by timing its networks."""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from sim2real.capabilities import capabilities
from sim2real.config import Config
from sim2real.devices import resolve_precision
from sim2real.errors import SettingsError
from sim2real.networks import RangeAdapter
from sim2real.networks.range_adapter import blank_inputs
from sim2real.timing import Choice, fastest
from sim2real.training.setup import build_discriminator, build_generator
from sim2real.training.speed import (
    can_compile,
    compile_network,
    in_fastest_layout,
    may_compile,
    reason_not_to_compile,
)

_SIDE = 128  # maximum side in pixels of the images that are timed
_SHORT = 60  # seconds of a whole training below which the most exact precision is taken
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

Fastest = Callable[[Mapping[str, Callable[[], object]]], Choice]


def choose_precision(config: Config, device: str, total: int, fastest: Fastest = fastest) -> tuple[str, str]:
    """Return the precision for ``precision = "auto"``, and a line on how it was chosen, empty if nothing was timed.

    Where the device can multiply in bf16, one image goes forward and backward through a generator and a discriminator
    in both precisions. Short and deterministic trainings are fp32.

    Args:
        config: All settings.
        device: The resolved device.
        total: Number of steps of the training.
        fastest: Times the two ways.

    Raises:
        Sim2RealError: If a network does not fit the settings.
    """
    reduced = resolve_precision(config.precision, device)
    if config.precision != "auto" or reduced == "fp32":
        return reduced, ""
    if config.deterministic:
        return "fp32", ""
    with torch.random.fork_rng(devices=[] if device in {"cpu", "mps"} else [device]):
        try:
            small = config.data.model_copy(update={"size": tuple(min(side, _SIDE) for side in config.data.size)})
            step = _step(config.model_copy(update={"data": small}), device)
        except SettingsError:  # too small for the networks
            step = _step(config, device)
        if step is None:
            return "fp32", ""
        choice = fastest({"fp32": lambda: step("fp32"), reduced: lambda: step(reduced)})
    share = min(1.0, _SIDE**2 / (config.data.size[0] * config.data.size[1]))
    if choice.seconds["fp32"] / share * config.data.batch_size * total < _SHORT:
        return "fp32", ""
    return choice.name, choice.told


def choose_compilation(
    config: Config, device: str, precision: str, total: int, fastest: Fastest = fastest
) -> tuple[bool, str]:
    """Return whether to compile the networks for ``compile = "auto"``, and a line on how it was chosen.

    Where a long training may gain by it, a minute or two are spent on compiling the networks and timing both ways.

    Args:
        config: All settings.
        device: The resolved device.
        precision: The chosen precision.
        total: Number of steps of the training.
        fastest: Times the two ways.

    Raises:
        Sim2RealError: If a network does not fit the settings.
    """
    if config.compile != "auto":
        return config.compile, ""
    if not may_compile(config, total, device):
        return False, ""
    if reason := reason_not_to_compile():
        return False, f"{reason}; the training goes on uncompiled, which is slower"
    with torch.random.fork_rng(devices=[] if device in {"cpu", "mps"} else [device]):
        steps = {name: _step(config, device, compiled=name == "compiled") for name in ("uncompiled", "compiled")}
        calls = {name: partial(step, precision) for name, step in steps.items() if step}
        if not calls:
            return False, ""
        try:
            choice = fastest(calls)
        except Exception as error:  # noqa: BLE001  compilers raise many kinds of errors
            reason = (str(error).strip().splitlines() or [""])[0]
            return False, f"the networks cannot be compiled: {type(error).__name__}: {reason}"
    return choice.name == "compiled", choice.told


def _step(config: Config, device: str, *, compiled: bool = False) -> Callable[[str], object] | None:
    """Return a function that computes gradients in a precision; None if nothing is trained by gradients."""
    generator = RangeAdapter(build_generator(config), returns_images=True).to(device).train()
    if not any(weight.requires_grad for weight in generator.parameters()):
        return None
    discriminator = RangeAdapter(build_discriminator(config), returns_images=False).to(device).train()
    for network in (generator, discriminator):
        in_fastest_layout(network, device)
        if compiled and can_compile(network, config):
            compile_network(network)
    length = max(capabilities(generator).clip_length, getattr(discriminator, "clip_length", 1))
    width, height = config.data.size
    images = torch.rand(1, *([length] if length > 1 else []), 3, height, width, device=device) * 2 - 1
    inputs = blank_inputs({*generator.kinds, *discriminator.kinds}, images)

    def step(precision: str) -> float:
        enabled = precision != "fp32"
        with torch.autocast(torch.device(device).type, _TYPES.get(precision, torch.bfloat16), enabled=enabled):
            scores = discriminator(generator(images, inputs), inputs)
            parts = scores if isinstance(scores, tuple) else (scores,)
            loss = torch.stack([part.float().square().mean() for part in parts]).sum()
        loss.backward()
        return loss.item()  # waits until the device has finished

    return step
