"""CycleGAN: two generators, a discriminator for each domain, and cycle consistency (Zhu et al. 2017)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sim2real.errors import SettingsError
from sim2real.methods.adversarial import AdversarialMethod
from sim2real.methods.base import Batch, Inputs, Losses, MethodSettings, Networks, StepLog, means, sum_of
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer
from sim2real.networks.blocks import choose

_Fakes = tuple[Tensor, Tensor]  # real ones, simulated ones


class CycleGAN(AdversarialMethod[Batch, _Fakes]):
    """Unpaired translation in both directions.

    Args:
        networks: Factories for the networks.
        settings: Losses, learning rates, device.
        update_order: Whether the generators or the discriminators are updated first in a step. Fakes are computed once.
        discriminator_loss_scale: Factor of both discriminators' losses; 0.5 in the reference, which slows them down.
        optimisers: ``"shared"``: one Adam for both generators and one for both discriminators; ``"separate"``: one for
            each network. ``settings.max_grad_norm`` applies to each optimiser.

    Raises:
        SettingsError: If an option is out of range.
    """

    computes: ClassVar[frozenset[str]] = frozenset(
        {"real", "fake_real", "fake_sim", "cycled_sim", "cycled_real", "identity_sim", "identity_real"}
    )
    discriminators = ("D_real", "D_sim")

    def __init__(
        self,
        networks: Networks,
        settings: MethodSettings,
        *,
        update_order: Literal["generators-first", "discriminators-first"] = "generators-first",
        discriminator_loss_scale: float = 1.0,
        optimisers: Literal["shared", "separate"] = "shared",
    ) -> None:
        super().__init__(settings)
        orders = {"generators-first": False, "discriminators-first": True}
        self.discriminators_first = choose("method.options.update_order", update_order, orders)
        separate = choose("method.options.optimisers", optimisers, {"shared": False, "separate": True})
        if not isinstance(discriminator_loss_scale, int | float) or not discriminator_loss_scale >= 0:
            option = f"method.options.discriminator_loss_scale = {discriminator_loss_scale!r}"
            raise SettingsError(f"{option} must be a number of at least 0")
        self.G_sim2real, self.G_real2sim = networks.generator(), networks.generator()
        self.D_real, self.D_sim = networks.discriminator(), networks.discriminator()
        seed = settings.seed + 2 * settings.rank
        self.trainers = {
            "D_real": DiscriminatorTrainer(self.D_real, settings, scale=discriminator_loss_scale, seed=seed),
            "D_sim": DiscriminatorTrainer(self.D_sim, settings, scale=discriminator_loss_scale, seed=seed + 1),
        }
        self.generators = {"sim2real": self.G_sim2real, "real2sim": self.G_real2sim}
        self.networks = {
            "G_sim2real": self.G_sim2real,
            "G_real2sim": self.G_real2sim,
            "D_real": self.D_real,
            "D_sim": self.D_sim,
        }
        updates = {}
        for kind, rate in (("G", settings.generator_lr), ("D", settings.discriminator_lr)):
            trained = {name: network for name, network in self.networks.items() if name.startswith(kind)}
            groups = {name: [network] for name, network in trained.items()} if separate else {kind: trained.values()}
            for name, group in groups.items():
                self.optimization.add(name, *group, lr=rate)
            updates[kind] = [*groups]
        self.updates = updates
        self.needs_identity = bool(settings.needs & {"identity_sim", "identity_real"})

    def step(self, batch: Batch) -> StepLog:
        """Update both generators and both discriminators once.

        Logged are the terms of the generators' loss, and ``"D_real"`` and ``"D_sim"``, the discriminators' adversarial
        losses. If they are used, ``"lecam"`` and ``"r1"`` are logged as sums over both discriminators, and
        ``"augment_p"`` as the mean probability of augmentation. Between the steps that compute it, ``"r1"`` keeps its
        last value.
        """
        parts = batch.split(self.settings.gradient_accumulation_steps)
        return self.finished(self.update(parts) if self.discriminators_first else self._update_at_once(parts))

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """Return the generators' losses and their sum, ``"generator"``."""
        terms = self.generator_terms(batch, self.translate(batch), augments=False)
        return StepLog({**terms, "generator": sum_of(terms)})

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """Return sim images, translated and translated back, then real images, translated and translated back."""

        def tour(images: Tensor, inputs: Inputs, *ways: str) -> Iterator[Tensor]:
            yield images
            for way in ways:
                images = generators[way](images, inputs).float()
                yield images

        return [
            *tour(batch.sim, batch.sim_inputs, "sim2real", "real2sim"),
            *tour(batch.real, batch.real_inputs, "real2sim", "sim2real"),
        ]

    def _update_at_once(self, parts: Sequence[Batch]) -> Losses:
        """Update generators and discriminators with the gradients of the same weights, the generators first."""
        self.optimization.zero_grad()
        generators, discriminators = [], []
        for part in parts:
            fakes = self.translate(part)
            generators.append(self.backward_generators(part, fakes))
            discriminators.append(self.backward_discriminators(part, fakes))
        self.optimization.step(*self.updates["G"], *self.updates["D"])
        return means(generators) | means(discriminators)

    def translate(self, part: Batch) -> _Fakes:
        """Return the fakes of both domains: real ones, simulated ones."""
        with self.settings.autocast():
            return self.G_sim2real(part.sim, part.sim_inputs), self.G_real2sim(part.real, part.real_inputs)

    def discriminator_losses(self, part: Batch, fakes: _Fakes) -> Iterator[tuple[str, Losses]]:
        """Yield the losses of both discriminators."""
        (fake_real, fake_sim), sims, reals = fakes, part.sim_inputs, part.real_inputs
        yield "D_real", self.trainers["D_real"].discriminator_loss(part.real, fake_real, reals, sims)
        yield "D_sim", self.trainers["D_sim"].discriminator_loss(part.sim, fake_sim, sims, reals)

    def generator_terms(self, part: Batch, fakes: _Fakes, *, augments: bool) -> Losses:
        """Return the weighted terms of the generators' loss."""
        (fake_real, fake_sim), sims, reals = fakes, part.sim_inputs, part.real_inputs
        with self.settings.autocast():
            images = {
                "cycled_sim": self.G_real2sim(fake_real, sims),
                "cycled_real": self.G_sim2real(fake_sim, reals),
            }
            if self.needs_identity:
                images["identity_sim"] = self.G_real2sim(part.sim, sims)
                images["identity_real"] = self.G_sim2real(part.real, reals)
        return {
            "adversarial_real": self.trainers["D_real"].generator_loss(fake_real, sims, augments=augments),
            "adversarial_sim": self.trainers["D_sim"].generator_loss(fake_sim, reals, augments=augments),
            **self.weighted(part, fake_real=fake_real, fake_sim=fake_sim, **images),
        }

    def stateful(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the trainers of both discriminators."""
        return {f"trainer_{name}": trainer for name, trainer in self.trainers.items()}

    def own(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the trainers of both discriminators, with their pools and augmentations."""
        return self.trainers
