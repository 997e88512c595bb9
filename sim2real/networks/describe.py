"""The layers of a network in the order in which they run, with their output shapes."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sim2real.networks.range_adapter import blank_inputs


@dataclass(frozen=True)
class Layer:
    """One layer of a network, as it ran.

    Attributes:
        name: Path of the layer in the network, e.g. ``"layers.down1.conv"``.
        kind: Type of the layer, e.g. ``"Conv2d 4x4 s2 p1"``: kernel, stride, padding.
        output_shape: Shape of the output for one image, without the batch: (C, H, W), or (C,).
        parameters: Number of parameters; 0 if they were counted in an earlier layer.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def describe(network: nn.Module, *input_shape: int) -> list[Layer]:
    """Return the layers of a network in the order in which they run.

    A copy of the network runs on the meta device, which takes neither time nor memory for its maps. A network that is
    computed outside of torch counts as one layer.

    Args:
        network: Any module that takes one tensor, and the labels that its attribute ``inputs`` names.
        *input_shape: Shape of one image without the batch: C, H, W.
    """
    if getattr(network, "cpu_only", False):  # computed outside of torch
        return [Layer("", _kind(network), input_shape, sum(weights.numel() for weights in network.parameters()))]
    layers: list[Layer] = []
    counted: set[nn.Parameter] = set()

    def record(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        original = network.get_submodule(name)
        fresh = set(original.parameters()) - counted
        counted.update(fresh)
        size = sum(parameter.numel() for parameter in fresh)
        layers.append(Layer(name, _kind(original), tuple(output.shape[1:]), size))

    twin = copy.deepcopy(network).to("meta")
    for name, layer in _layers("", twin):
        layer.register_forward_hook(partial(record, name))
    frames = getattr(network, "clip_length", 1)
    images = torch.empty(1, *([frames] if frames > 1 else []), *input_shape, device="meta")
    kinds = getattr(network, "inputs", ())
    with torch.no_grad():
        twin(images, **({"inputs": blank_inputs(kinds, images)} if kinds else {}))
    return layers


def _layers(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that have no children or have parameters of their own."""
    children = dict(module.named_children())
    owns_parameters = any(True for _ in module.parameters(recurse=False)) or parametrize.is_parametrized(module)
    if owns_parameters or not children:
        yield name, module
        return
    for child_name, child in children.items():
        yield from _layers(f"{name}.{child_name}".lstrip("."), child)


def _kind(module: nn.Module) -> str:
    kind = type(module).__name__.removeprefix("Parametrized")
    match module:
        case nn.Conv2d() | nn.ConvTranspose2d():
            kernel = "x".join(map(str, module.kernel_size))
            padding = f"p{_side(module.padding)}"
            if module.padding_mode != "zeros":
                padding += f" {module.padding_mode}"
            if any(module.output_padding):
                padding += f" op{_side(module.output_padding)}"
            return f"{kind} {kernel} s{_side(module.stride)} {padding}"
        case nn.Linear():
            return f"{kind} {module.in_features} to {module.out_features}"
        case nn.LeakyReLU():
            return f"{kind} {module.negative_slope:g}"
    return kind


def _side(extent: tuple[int, ...] | str) -> str:
    """Return one number if both sides are equal; "same" and "valid" paddings are returned unchanged."""
    if isinstance(extent, str):
        return extent
    return str(extent[0]) if len(set(extent)) == 1 else "x".join(map(str, extent))
