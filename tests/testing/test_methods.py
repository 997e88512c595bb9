"""Every method that ships keeps the contract, and what does not keep it is told why."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from sim2real.methods.base import Batch, StepLog
from sim2real.methods.cyclegan import CycleGAN
from sim2real.networks.classes import ClassDistribution
from sim2real.networks.colour import Reinhard
from sim2real.registry import registry
from sim2real.testing import check_method
from tests.testing.shipped import shipped

NAMES = shipped("methods")


@pytest.mark.parametrize("name", NAMES)
def test_every_method_that_ships_keeps_the_contract(name: str) -> None:
    generators: dict[str, Any] = {"fit": Reinhard, "pseudo-labels": ClassDistribution}
    more: dict[str, Any] = {"generator": lambda: generators[name](3, 3)} if name in generators else {}
    check_method(registry().load("methods", name), **more)


class Forgetful(CycleGAN):
    """Counts its steps, and forgets them."""

    count = 0

    def step(self, batch: Batch) -> StepLog:
        self.count += 1
        return StepLog({**super().step(batch).losses, "count": torch.tensor(float(self.count))})


class Restless(CycleGAN):
    def evaluate(self, batch: Batch) -> StepLog:
        torch.rand(())
        return super().evaluate(batch)


class Learning(CycleGAN):
    def evaluate(self, batch: Batch) -> StepLog:
        return self.step(batch)


class Asleep(CycleGAN):
    def step(self, batch: Batch) -> StepLog:
        return self.evaluate(batch)


class Stubborn(CycleGAN):
    def scale_learning_rates(self, factor: float) -> None:
        """Do not."""


class Misjudged(CycleGAN):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.discriminators = ("D_night", "D_sim")


class Inventive(CycleGAN):
    computes: ClassVar[frozenset[str]] = CycleGAN.computes | {"dreams"}


class Nosy(CycleGAN):
    reads: ClassVar[frozenset[str] | None] = frozenset({"data.size"})


class Unsaved(CycleGAN):
    def rank_state_dict(self) -> dict[str, Any]:
        return {**super().rank_state_dict(), "hook": Unsaved}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Never reached."""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Forgetful, r"^Forgetful: step 1 after its states were restored has another 'count' \(3, 1\)"),
        (Restless, "evaluate uses the training's random number generator"),
        (Learning, "evaluate changes its state"),
        (Asleep, "two steps change no weight of its generators"),
        (Stubborn, r"still learn after scale_learning_rates\(0\)"),
        (Misjudged, "discriminators names 'D_night'; its networks are G_sim2real"),
        (Inventive, "computes names 'dreams'"),
        (Nosy, "reads names 'data.size', which is not one of image_pool_size, discriminator"),
        (Unsaved, "its state must consist of tensors and plain values"),
    ],
)
def test_a_method_that_does_not_fit(target: type[CycleGAN], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_method(target)
