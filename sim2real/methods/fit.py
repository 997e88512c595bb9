"""Fitting: generators that nobody trains are shown images of both domains."""

from collections.abc import Mapping
from typing import Any

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch, MethodSettings, Networks, StepLog


class Fit:
    """Shows each batch to both generators, which keep of it what they need: ``observe(source, target)``.

    No critics, no losses, no rates. Of many processes each shows its generators its own images, and those of the first
    are what the training gives: one process sees the most.

    Args:
        networks: Makes the generators; they need a method ``observe``, as those of ``sim2real.networks.colour`` have.
        _settings: Losses and rates, which play no part.

    Raises:
        SettingsError: The generator is one to be trained.
    """

    def __init__(self, networks: Networks, _settings: MethodSettings) -> None:
        self.G_sim2real, self.G_real2sim = networks.generator(), networks.generator()
        if not hasattr(self.G_sim2real, "observe"):
            message = (
                "method.name = 'fit' is for generators that only look at images, such as 'reinhard'; the one of "
                "generator.name has to be trained: set method.name = 'cyclegan'"
            )
            raise SettingsError(message)
        self.generators = {"sim2real": self.G_sim2real, "real2sim": self.G_real2sim}
        self.networks = {"G_sim2real": self.G_sim2real, "G_real2sim": self.G_real2sim}

    def step(self, batch: Batch) -> StepLog:
        """Show a batch to both generators; there are no losses."""
        self.G_sim2real.observe(batch.sim, batch.real)
        self.G_real2sim.observe(batch.real, batch.sim)
        return StepLog({})

    def evaluate(self, _batch: Batch) -> StepLog:
        """No losses."""
        return StepLog({})

    def scale_learning_rates(self, _factor: float) -> None:
        """There are none."""

    def state_dict(self) -> dict[str, Any]:
        """What the generators have kept."""
        return {name: network.state_dict() for name, network in self.networks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        for name, network in self.networks.items():
            network.load_state_dict(state[name])

    def own_state_dict(self) -> dict[str, Any]:
        """Nothing: nothing is drawn at random."""
        return {}

    def load_own_state_dict(self, _state: Mapping[str, Any]) -> None:
        """Take back nothing."""
