"""What makes the networks of a training faster on this machine, where that is sound."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.config import Config
from sim2real.devices import kind_of, resolve_precision
from sim2real.errors import SettingsError
from sim2real.networks import RangeAdapter

_LONG = 2000  # steps; compiling takes about a minute, which on two cores some 100 steps of the published sizes repay
_GRAPHS = 64  # of all networks: with and without gradients of weights and images


def compiles(config: Config, total: int, device: str) -> bool:
    """Whether the networks of a training of so many steps are to be compiled: ``"auto"`` if it is long and that pays.

    On a CPU it does in bf16; in fp32 compiled steps took half as long again as others, see benchmarks/README.md. For
    Apple's GPUs PyTorch calls its compiler a prototype. There only who wants it has it.
    """
    if config.compile != "auto":
        return config.compile
    pays = {"cuda": True, "cpu": resolve_precision(config.precision, device) == "bf16"}
    return total >= _LONG and pays.get(kind_of(device), False)


@cache
def reason_not_to_compile() -> str | None:
    """Why nothing can be compiled here, in a line; None where it can."""
    try:
        torch.compile(lambda numbers: numbers * 2 + 1)(torch.zeros(8))
    except Exception as error:  # noqa: BLE001  whatever compilers raise
        reason = (str(error).strip().splitlines() or [""])[0]
        return f"nothing can be compiled here: {type(error).__name__}: {reason}"
    return None


def compile_network(network: RangeAdapter) -> None:
    """Have a network compiled when it is first called, and again for each new shape.

    Raises:
        SettingsError: Nothing can be compiled here.
    """
    if reason := reason_not_to_compile():
        raise SettingsError(f"compile = true: {reason}; install a C++ compiler, or leave it out")
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"  # noqa: SLF001  torch's own name
    setattr(torch._dynamo.config, limit, max(_GRAPHS, getattr(torch._dynamo.config, limit)))  # noqa: SLF001
    network.compile(dynamic=False)


def in_fastest_layout(network: nn.Module, device: str) -> None:
    """Lay out weights as convolutions of CUDA want them, channels last, if gradients are right so."""
    if kind_of(device) == "cuda" and _is_sound(device):
        network.to(memory_format=torch.channels_last)


@cache
def _is_sound(device: str) -> bool:
    """Whether instance norm of one image has the right gradient in channels-last layout: PyTorch 2.15's CPU has not."""
    random = torch.Generator().manual_seed(0)
    images, weights = (torch.randn(1, 8, 6, 5, generator=random).to(device) for _ in range(2))

    def gradient(layout: torch.memory_format) -> Tensor:
        leaf = images.clone(memory_format=layout).requires_grad_()
        return torch.autograd.grad(functional.instance_norm(leaf), leaf, weights.clone(memory_format=layout))[0]

    plain, last = gradient(torch.contiguous_format), gradient(torch.channels_last)
    return torch.allclose(plain, last, rtol=1e-3, atol=1e-5)
