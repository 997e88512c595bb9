"""Make the networks of a training faster: compilation and memory layout, where they work correctly."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.capabilities import capabilities
from sim2real.config import Config
from sim2real.devices import kind_of, resolve_precision
from sim2real.errors import SettingsError
from sim2real.networks import RangeAdapter

_LONG = 2000  # steps; compiling takes about a minute: on two cores, about 100 steps of published sizes make up for it
_GRAPHS = 64  # compiled graphs of all networks, with and without gradients of weights and images


def may_compile(config: Config, total: int, device: str) -> bool:
    """Return whether ``compile = "auto"`` tries compiled networks: if the training is long, on a GPU or in bf16.

    On a CPU in fp32, compiled steps took 1.5 times as long as others, see benchmarks/README.md. For Apple's GPUs,
    PyTorch calls its compiler a prototype: there, it must be turned on.
    """
    pays = {"cuda": True, "cpu": resolve_precision(config.precision, device) == "bf16"}
    return config.compile == "auto" and total >= _LONG and pays.get(kind_of(device), False)


def can_compile(network: RangeAdapter, config: Config) -> bool:
    """Return whether a network can be compiled: no generator that samples at random.

    Compiled spectral norm saves vectors for the backward pass that the next forward pass changes in place.
    """
    if network.returns_images:
        can = capabilities(network)
        return can.exportable and not can.stochastic
    return getattr(network, "exportable", True) and not config.discriminator.regularization.spectral_norm


@cache
def reason_not_to_compile() -> str | None:
    """Return in one line why nothing can be compiled here; None if it can."""
    try:
        torch.compile(lambda numbers: numbers * 2 + 1)(torch.zeros(8))
    except Exception as error:  # noqa: BLE001  compilers raise many kinds of errors
        reason = (str(error).strip().splitlines() or [""])[0]
        return f"nothing can be compiled here: {type(error).__name__}: {reason}"
    return None


def compile_network(network: RangeAdapter) -> None:
    """Compile a network when it is first called, and again for each new shape.

    Raises:
        SettingsError: If nothing can be compiled here.
    """
    if reason := reason_not_to_compile():
        raise SettingsError(f"compile = true: {reason}; install a C++ compiler, or remove the setting")
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"  # noqa: SLF001  torch's own name
    setattr(torch._dynamo.config, limit, max(_GRAPHS, getattr(torch._dynamo.config, limit)))  # noqa: SLF001
    network.compile(dynamic=False)


def in_fastest_layout(network: nn.Module, device: str) -> None:
    """Convert weights to channels-last layout on CUDA, which is fastest for convolutions, if gradients are correct."""
    if kind_of(device) == "cuda" and _is_sound(device):
        network.to(memory_format=torch.channels_last)


@cache
def _is_sound(device: str) -> bool:
    """Return whether instance norm of one image has a correct gradient in channels-last layout.

    On the CPU it has not in PyTorch 2.15.
    """
    random = torch.Generator().manual_seed(0)
    images, weights = (torch.randn(1, 8, 6, 5, generator=random).to(device) for _ in range(2))

    def gradient(layout: torch.memory_format) -> Tensor:
        leaf = images.clone(memory_format=layout).requires_grad_()
        return torch.autograd.grad(functional.instance_norm(leaf), leaf, weights.clone(memory_format=layout))[0]

    plain, last = gradient(torch.contiguous_format), gradient(torch.channels_last)
    return torch.allclose(plain, last, rtol=1e-3, atol=1e-5)
