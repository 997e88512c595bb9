"""The step of methods that train generators against discriminators: both are updated in turn, part by part."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from sim2real.losses import LossInputs
from sim2real.methods.base import Batch, Losses, Method, StepLog, detached, frozen, means, sum_of
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer, discriminator_log

Part = TypeVar("Part")
Fakes = TypeVar("Fakes")


class AdversarialMethod(Method, Generic[Part, Fakes]):
    """Base class of methods with generators and discriminators.

    A subclass sets ``trainers`` and defines :meth:`translate`, :meth:`discriminator_losses` and
    :meth:`generator_terms`; its ``step`` calls :meth:`update` and returns :meth:`finished`. The parts of a batch go
    through the networks one after the other, so that memory holds only one part at a time.

    Attributes:
        trainers: The trainer of each discriminator, by the name of the network.
        updates: Names of the optimisers of the generators, ``"G"``, and of the discriminators, ``"D"``.
    """

    reads: ClassVar[frozenset[str] | None] = frozenset(
        {"image_pool_size", "discriminator", "losses", "optim", "schedule", "train.gradient_accumulation_steps"}
    )
    trainers: Mapping[str, DiscriminatorTrainer]
    updates: Mapping[str, Sequence[str]] = {"G": ["G"], "D": ["D"]}

    def translate(self, part: Part) -> Fakes:
        """Return the translations of a part of a batch."""
        raise NotImplementedError

    def discriminator_losses(self, part: Part, fakes: Fakes) -> Iterable[tuple[str, Losses]]:
        """Yield the name of each discriminator and its losses from ``DiscriminatorTrainer.discriminator_loss``."""
        raise NotImplementedError

    def generator_terms(self, part: Part, fakes: Fakes, *, augments: bool) -> Losses:
        """Return the weighted terms of the generators' loss.

        Args:
            part: A part of a batch.
            fakes: Its translations.
            augments: Whether discriminators see augmented fakes, as in training.
        """
        raise NotImplementedError

    def update(self, parts: Sequence[Part]) -> Losses:
        """Update the discriminators and then the generators with the parts of a batch; return the mean losses."""
        whole = len(parts) == 1
        self.optimization.zero_grad()
        with torch.set_grad_enabled(whole):  # keeping the graphs of all parts would fill the memory
            fakes = [self.translate(part) for part in parts]
        discriminators = [self.backward_discriminators(*each) for each in zip(parts, fakes, strict=True)]
        self.optimization.step(*self.updates["D"])
        again = fakes if whole else map(self.translate, parts)
        generators = [self.backward_generators(*each) for each in zip(parts, again, strict=True)]
        self.optimization.step(*self.updates["G"])
        return means(generators) | means(discriminators)

    def backward_discriminators(self, part: Part, fakes: Fakes) -> Losses:
        """Accumulate the gradients of the discriminators for a part of a batch and return their losses."""
        losses = {}
        for name, found in self.discriminator_losses(part, fakes):
            self.optimization.backward(sum_of(found))
            losses[name] = found
        return discriminator_log(losses, self.settings.regularization)

    def backward_generators(self, part: Part, fakes: Fakes) -> Losses:
        """Accumulate the gradients of the generators for a part of a batch and return their losses."""
        with frozen(*(trainer.network for trainer in self.trainers.values())):
            terms = self.generator_terms(part, fakes, augments=True)
            self.optimization.backward(sum_of(terms))
        return detached(terms)

    def finished(self, losses: Losses) -> StepLog:
        """Finish a step with its losses; return the newest ones, with ``"augment_p"`` if images are augmented."""
        self.optimization.finish()
        self.latest |= losses
        if self.settings.regularization.augment:
            probabilities = [trainer.probability for trainer in self.trainers.values()]
            self.latest["augment_p"] = torch.stack(probabilities).mean()
        for trainer in self.trainers.values():
            trainer.end_step()
        return StepLog(self.latest.copy())

    def weighted(self, batch: Batch, **images: Tensor) -> Losses:
        """Return the other weighted terms of the generators' loss, given the computed fields of ``LossInputs``."""
        images |= {"sim": batch.sim, "real": batch.real}
        return self.settings.weighted(LossInputs(sim_inputs=batch.sim_inputs, real_inputs=batch.real_inputs, **images))
