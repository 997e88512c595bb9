"""Fitting: generators that nobody trains are shown images of both domains."""

from typing import ClassVar

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog


class Fit(Method):
    """Shows each batch to both generators, which keep of it what they need: ``observe(source, target)``.

    No discriminators, no losses, no rates. Of many processes each shows its generators its own images, and those of the
    first are what the training gives: one process sees the most.

    Args:
        networks: Makes the generators; they need a method ``observe``, as those of ``sim2real.networks.colour`` have.
        settings: Losses and rates, which play no part.

    Raises:
        SettingsError: The generator is one to be trained.
    """

    reads: ClassVar[frozenset[str] | None] = frozenset()

    def __init__(self, networks: Networks, settings: MethodSettings) -> None:
        super().__init__(settings)
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

    def evaluate(self, batch: Batch) -> StepLog:  # noqa: ARG002  the contract of methods
        """No losses."""
        return StepLog({})
