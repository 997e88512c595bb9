"""Small methods for tests."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sim2real.losses import adversarial
from sim2real.methods.base import Batch, MethodSettings, Networks, StepLog
from sim2real.networks import RangeAdapter, initialise


def settings_of(**differences: Any) -> MethodSettings:
    """Settings on the CPU in float32, with these differences."""
    usual: dict[str, Any] = {"adversarial": adversarial("lsgan"), "terms": {}, "betas": (0.5, 0.999), "seed": 0}
    usual |= {
        "generator_lr": 1e-3,
        "discriminator_lr": 1e-3,
        "image_pool_size": 0,
        "device": "cpu",
        "precision": "fp32",
    }
    return MethodSettings(**(usual | differences))


def networks_of(generator: Callable[[], nn.Module], discriminator: Callable[[], nn.Module]) -> Networks:
    """Makers of initialised networks."""

    def ready(network: nn.Module, returns_images: bool) -> RangeAdapter:
        initialise(network, "normal")
        return RangeAdapter(network, returns_images=returns_images)

    return Networks(lambda: ready(generator(), True), lambda: ready(discriminator(), False))


def generators_of(network: type[nn.Module]) -> Networks:
    """Makers of networks for methods that have no discriminator."""
    return Networks(
        generator=lambda: RangeAdapter(network(3, 3), returns_images=True),
        discriminator=lambda: pytest.fail("the method has no discriminator"),
    )


def batch(seed: int = 0, count: int = 1) -> Batch:
    """Random images of both sides: (count, 3, 32, 32) each."""
    random = torch.Generator().manual_seed(seed)
    sim, real = (torch.rand(count, 3, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    return Batch(sim, real)


def numbers(log: StepLog) -> dict[str, float]:
    """The losses of a step."""
    return {name: float(loss) for name, loss in log.losses.items()}
