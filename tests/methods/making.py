"""Small methods for tests."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from sim2real.losses import adversarial
from sim2real.methods.base import MethodSettings, Networks
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
        discriminator=lambda: pytest.fail("nobody needs a discriminator"),
    )
