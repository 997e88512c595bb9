"""CycleGAN: two generators, a discriminator for each domain, and cycle consistency (Zhu et al. 2017)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import (
    Batch,
    Inputs,
    Losses,
    Method,
    MethodSettings,
    Networks,
    StepLog,
    detached,
    frozen,
    means,
    sum_of,
)
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer, discriminator_log
from sim2real.networks.blocks import choose


class CycleGAN(Method):
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
    reads: ClassVar[frozenset[str] | None] = frozenset(
        {"image_pool_size", "discriminator", "losses", "optim", "schedule", "train.gradient_accumulation_steps"}
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
        self.updates: dict[str, list[str]] = {}
        for kind, rate in (("G", settings.generator_lr), ("D", settings.discriminator_lr)):
            trained = {name: network for name, network in self.networks.items() if name.startswith(kind)}
            groups = {name: [network] for name, network in trained.items()} if separate else {kind: trained.values()}
            for name, group in groups.items():
                self.optimization.add(name, *group, lr=rate)
            self.updates[kind] = [*groups]
        self.needs_identity = bool(settings.needs & {"identity_sim", "identity_real"})

    def step(self, batch: Batch) -> StepLog:
        """Update both generators and both discriminators once.

        Logged are the terms of the generators' loss, and ``"D_real"`` and ``"D_sim"``, the discriminators' adversarial
        losses. If they are used, ``"lecam"`` and ``"r1"`` are logged as sums over both discriminators, and
        ``"augment_p"`` as the mean probability of augmentation. Between the steps that compute it, ``"r1"`` keeps its
        last value.

        The batch goes through the networks in ``settings.gradient_accumulation_steps`` parts, one after the other, so
        that memory holds only one part at a time.
        """
        parts = batch.split(self.settings.gradient_accumulation_steps)
        self.optimization.zero_grad()
        generators, discriminators = (
            self._discriminators_first(parts) if self.discriminators_first else self._generators_first(parts)
        )
        self.optimization.finish()
        self.latest |= means(generators) | means(discriminators)
        if self.settings.regularization.augment:
            probabilities = [trainer.probability for trainer in self.trainers.values()]
            self.latest["augment_p"] = torch.stack(probabilities).mean()
        for trainer in self.trainers.values():
            trainer.end_step()
        return StepLog(self.latest.copy())

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """Return the generators' losses and their sum, ``"generator"``."""
        terms = self._generator_terms(batch, *self._translate(batch), augments=False)
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

    def _generators_first(self, parts: Sequence[Batch]) -> tuple[list[Losses], list[Losses]]:
        generators, discriminators = [], []
        for part in parts:
            fakes = self._translate(part)
            generators.append(self._backward_generators(part, *fakes))
            discriminators.append(self._backward_discriminators(part, *fakes))
        self.optimization.step(*self.updates["G"], *self.updates["D"])
        return generators, discriminators

    def _discriminators_first(self, parts: Sequence[Batch]) -> tuple[list[Losses], list[Losses]]:
        whole = len(parts) == 1
        with torch.set_grad_enabled(whole):  # keeping the graphs of all parts would fill the memory
            fakes = [self._translate(part) for part in parts]
        discriminators = [self._backward_discriminators(part, *made) for part, made in zip(parts, fakes, strict=True)]
        self.optimization.step(*self.updates["D"])
        again = fakes if whole else map(self._translate, parts)
        generators = [self._backward_generators(part, *made) for part, made in zip(parts, again, strict=True)]
        self.optimization.step(*self.updates["G"])
        return generators, discriminators

    def _translate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the fakes of both domains: real ones, simulated ones."""
        with self.settings.autocast():
            return self.G_sim2real(batch.sim, batch.sim_inputs), self.G_real2sim(batch.real, batch.real_inputs)

    def _backward_generators(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Accumulate the gradients of the generators for a part of a batch and return their losses."""
        with frozen(self.D_real, self.D_sim):
            terms = self._generator_terms(batch, fake_real, fake_sim, augments=True)
            self.optimization.backward(sum_of(terms))
        return detached(terms)

    def _backward_discriminators(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Accumulate the gradients of the discriminators for a part of a batch and return their losses."""
        real = self.trainers["D_real"].discriminator_loss(batch.real, fake_real, batch.real_inputs, batch.sim_inputs)
        sim = self.trainers["D_sim"].discriminator_loss(batch.sim, fake_sim, batch.sim_inputs, batch.real_inputs)
        self.optimization.backward(sum_of(real) + sum_of(sim))
        return discriminator_log({"D_real": real, "D_sim": sim}, self.settings.regularization)

    def _generator_terms(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor, *, augments: bool) -> Losses:
        """Return the weighted terms of the generators' loss."""
        sims, reals = batch.sim_inputs, batch.real_inputs
        with self.settings.autocast():
            images = {
                "cycled_sim": self.G_real2sim(fake_real, sims),
                "cycled_real": self.G_sim2real(fake_sim, reals),
            }
            if self.needs_identity:
                images["identity_sim"] = self.G_real2sim(batch.sim, sims)
                images["identity_real"] = self.G_sim2real(batch.real, reals)
        given = LossInputs(
            sim=batch.sim,
            real=batch.real,
            fake_real=fake_real,
            fake_sim=fake_sim,
            sim_inputs=sims,
            real_inputs=reals,
            **images,
        )
        return {
            "adversarial_real": self.trainers["D_real"].generator_loss(fake_real, sims, augments=augments),
            "adversarial_sim": self.trainers["D_sim"].generator_loss(fake_sim, reals, augments=augments),
            **self.settings.weighted(given),
        }

    def stateful(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the trainers of both discriminators."""
        return {f"trainer_{name}": trainer for name, trainer in self.trainers.items()}

    def own(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the trainers of both discriminators, with their pools and augmentations."""
        return self.trainers
