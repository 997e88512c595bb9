"""Fitting of generators that need no training: they only observe images of both domains."""

from typing import ClassVar

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog


class Fit(Method):
    """Shows each batch to both generators by calling ``observe(source, target)``.

    There are no discriminators, losses or learning rates. With several processes, each one shows its own images to its
    own generators, and the result of the training are the generators of the first process. A single process therefore
    sees the most images.

    Args:
        networks: Factories for the generators; they need a method ``observe``, like those of
            ``sim2real.networks.colour``.
        settings: Settings of the method; losses and learning rates are not used.

    Raises:
        SettingsError: If the generator has no ``observe`` and needs training.
    """

    reads: ClassVar[frozenset[str] | None] = frozenset()

    def __init__(self, networks: Networks, settings: MethodSettings) -> None:
        super().__init__(settings)
        self.G_sim2real, self.G_real2sim = networks.generator(), networks.generator()
        if not hasattr(self.G_sim2real, "observe"):
            message = (
                "method.name = 'fit' is for generators that only observe images, such as 'reinhard'; the one of "
                "generator.name has to be trained: set method.name = 'cyclegan'"
            )
            raise SettingsError(message)
        self.generators = {"sim2real": self.G_sim2real, "real2sim": self.G_real2sim}
        self.networks = {"G_sim2real": self.G_sim2real, "G_real2sim": self.G_real2sim}

    def step(self, batch: Batch) -> StepLog:
        """Show a batch to both generators and return no losses."""
        self.G_sim2real.observe(batch.sim, batch.real)
        self.G_real2sim.observe(batch.real, batch.sim)
        return StepLog({})

    def evaluate(self, batch: Batch) -> StepLog:  # noqa: ARG002  the contract of methods
        """Return no losses."""
        return StepLog({})
