"""What a training method is to the loop that runs it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sim2real.losses import Adversarial, LossInputs
from sim2real.networks import Ranged

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of both domains, drawn independently: (N, 3, H, W) float32 in [-1, 1]."""

    sim: Tensor
    real: Tensor


@dataclass(frozen=True, slots=True)
class StepLog:
    """The losses of one step by name: detached scalars, left on the device until somebody prints them."""

    losses: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Networks:
    """Makes the networks of a method: each call a new one, initialised, on the device, in the program's [-1, 1]."""

    generator: Callable[[], Ranged]
    discriminator: Callable[[], Ranged]


@dataclass(frozen=True, slots=True)
class MethodSettings:
    """What every method is told.

    Attributes:
        adversarial: The two sides of the adversarial loss.
        terms: The other terms of the generators' loss: name -> (weight, loss).
        generator_lr: Adam's step size for generators; likewise ``discriminator_lr``.
        betas: Adam's decay rates.
        pool: Fakes that each critic's pool holds; 0 shows it the newest ones only.
        device: Where the networks are, e.g. ``"cpu"`` or ``"cuda:0"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``: what convolutions compute in; weights are always float32.
        seed: Seeds what the method itself draws at random.
    """

    adversarial: Adversarial
    terms: Mapping[str, tuple[float, Callable[[LossInputs], Tensor]]]
    generator_lr: float
    discriminator_lr: float
    betas: tuple[float, float]
    pool: int
    device: str
    precision: str
    seed: int

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which networks compute in the wanted precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, _AUTOCAST.get(self.precision, torch.bfloat16), enabled=self.precision in _AUTOCAST)


class Method(Protocol):
    """One way to train translators.

    Attributes:
        generators: ``"sim2real"`` and, where the method trains it, ``"real2sim"`` -> network.
        networks: Every network by its name (``G_sim2real``, ``D_real``, ...).
    """

    generators: Mapping[str, Ranged]
    networks: Mapping[str, Ranged]

    def step(self, batch: Batch) -> StepLog:
        """Update all networks once."""

    def evaluate(self, batch: Batch) -> StepLog:
        """The generators' losses on a batch, nothing updated."""

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its setting times a factor in [0, 1]."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Networks through which gradients flow but which collect none; what was frozen before stays so."""
    trained = [weights for network in networks for weights in network.parameters() if weights.requires_grad]
    for weights in trained:
        weights.requires_grad_(False)  # noqa: FBT003  torch's own signature
    try:
        yield
    finally:
        for weights in trained:
            weights.requires_grad_(True)  # noqa: FBT003  as above
