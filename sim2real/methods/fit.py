"""Fitting of generators that need no training: they only observe images of both domains."""

from typing import ClassVar

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog


class Fit(Method):
    """Shows each batch to the generators by calling ``observe(source, target)``.

    There is one generator for each direction, but only the one for simulated images if it uses labels. There are no
    discriminators, losses or learning rates. With several processes, each one shows its own images to its own
    generators, and the result of the training are the generators of the first process. A single process therefore sees
    the most images.

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
        generator = networks.generator()
        if not hasattr(generator, "observe"):
            message = (
                "method.name = 'fit' is for generators that only observe images, such as 'reinhard'; the one of "
                "generator.name has to be trained: set method.name = 'cyclegan'"
            )
            raise SettingsError(message)
        self.generators = {"sim2real": generator}
        if not generator.kinds:
            self.generators["real2sim"] = networks.generator()
        self.networks = {f"G_{direction}": each for direction, each in self.generators.items()}
        self.sides = {"G_sim2real": ("sim",)} if generator.kinds else {}

    def step(self, batch: Batch) -> StepLog:
        """Show a batch to the generators and return no losses."""
        self.generators["sim2real"].observe(batch.sim, batch.real)
        if "real2sim" in self.generators:
            self.generators["real2sim"].observe(batch.real, batch.sim)
        return StepLog({})

    def evaluate(self, batch: Batch) -> StepLog:  # noqa: ARG002  the contract of methods
        """Return no losses."""
        return StepLog({})
