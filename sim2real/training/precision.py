"""The precision of a training, found by timing its networks."""

from collections.abc import Callable, Mapping

import torch

from sim2real.capabilities import capabilities
from sim2real.config import Config
from sim2real.devices import resolve_precision
from sim2real.errors import SettingsError
from sim2real.networks import RangeAdapter
from sim2real.networks.range_adapter import blank_inputs
from sim2real.timing import Choice, fastest
from sim2real.training.setup import build_discriminator, build_generator
from sim2real.training.speed import in_fastest_layout

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


def _step(config: Config, device: str) -> Callable[[str], object] | None:
    """Return a function that computes gradients in a precision; None if nothing is trained by gradients."""
    generator = RangeAdapter(build_generator(config), returns_images=True).to(device).train()
    if not any(weight.requires_grad for weight in generator.parameters()):
        return None
    discriminator = RangeAdapter(build_discriminator(config), returns_images=False).to(device).train()
    for network in (generator, discriminator):
        in_fastest_layout(network, device)
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
