"""What a training method is to the loop that runs it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor, nn

from sim2real.config import Critic
from sim2real.losses import Adversarial, LossInputs
from sim2real.networks import Ranged
from sim2real.stored import Rule

Scalar = Annotated[Tensor, Rule("a single number", lambda tensor: tensor.shape == () and tensor.is_floating_point())]
"""What a loss is."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of both domains, drawn independently: (N, 3, H, W) float32 in [-1, 1]."""

    sim: Tensor
    real: Tensor

    def split(self, count: int) -> "list[Batch]":
        """So many batches of equally many images of each domain.

        Raises:
            ValueError: The images cannot be shared out equally.
        """
        size, rest = divmod(len(self.sim), count)
        if rest:
            message = f"{len(self.sim)} images cannot be split into {count} equal parts"
            raise ValueError(message)
        return [Batch(*parts) for parts in zip(self.sim.split(size), self.real.split(size), strict=True)]


@dataclass(frozen=True, slots=True)
class StepLog:
    """The losses of one step by name: detached scalars, left on the device until somebody prints them."""

    losses: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Networks:
    """Makes the networks of a method: each call a new one, initialised, on the device, in the program's [-1, 1]."""

    generator: Callable[[], Ranged]
    discriminator: Callable[[], Ranged]


def alone(_tensors: Sequence[Tensor]) -> None:
    """The mean over all processes of a training that has only one."""


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
        critic: What keeps the critics in check.
        clip: Greatest norm of the gradients that one optimiser follows; 0: any.
        accumulate: Equal parts in which a batch goes through the networks, their gradients averaged before the update.
        average: Turns tensors into their means over all processes of the training, in place. A method calls it with the
            gradients of each update, before they are clipped or followed, and with whatever else must be equal in all.
        rank: Number of this process, from 0: others draw other random numbers.
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
    critic: Critic = field(default_factory=Critic)
    clip: float = 0.0
    accumulate: int = 1
    average: Callable[[Sequence[Tensor]], None] = alone
    rank: int = 0

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
        """What a resumed training needs and is equal in all its processes, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""

    def own_state_dict(self) -> dict[str, Any]:
        """The rest, which is another one in each process: what was drawn at random, and what comes of it."""

    def load_own_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``own_state_dict`` gave."""


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
