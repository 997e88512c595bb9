"""CycleGAN: two generators, a critic of each domain, and the cycle that ties them (Zhu et al. 2017)."""

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
from sim2real.methods.critics import Opponent, critic_log
from sim2real.networks.blocks import choose


class CycleGAN(Method):
    """Unpaired translation both ways.

    Args:
        networks: Makes the networks.
        settings: Losses, rates, device.
        update_order: Whether the generators or the critics are updated first in a step. Fakes are computed once.
        discriminator_loss_scale: Factor of both critics' losses; 0.5 in the reference, which slows them down.
        optimisers: ``"shared"``: one Adam for both generators and one for both critics; ``"separate"``: one each.
            ``settings.clip`` is of the gradients of each.
    """

    computes: ClassVar[frozenset[str]] = frozenset(
        {"real", "fake_real", "fake_sim", "cycled_sim", "cycled_real", "identity_sim", "identity_real"}
    )
    reads: ClassVar[frozenset[str] | None] = frozenset(
        {"pool", "discriminator", "critic", "losses", "optim", "schedule", "train.accumulate"}
    )
    judges = ("D_real", "D_sim")

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
        self.critics_first = choose("method.options.update_order", update_order, orders)
        separate = choose("method.options.optimisers", optimisers, {"shared": False, "separate": True})
        if not isinstance(discriminator_loss_scale, int | float) or not discriminator_loss_scale >= 0:
            option = f"method.options.discriminator_loss_scale = {discriminator_loss_scale!r}"
            raise SettingsError(f"{option} must be a number of at least 0")
        self.G_sim2real, self.G_real2sim = networks.generator(), networks.generator()
        self.D_real, self.D_sim = networks.discriminator(), networks.discriminator()
        seed = settings.seed + 2 * settings.rank
        self.opponents = {
            "D_real": Opponent(self.D_real, settings, scale=discriminator_loss_scale, seed=seed),
            "D_sim": Opponent(self.D_sim, settings, scale=discriminator_loss_scale, seed=seed + 1),
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
        """Update both generators and both critics once.

        Beside the terms of the generators' loss it logs ``"D_real"`` and ``"D_sim"``, the critics' adversarial losses;
        and of both critics together, where they are used, ``"lecam"`` and ``"r1"``, which between the steps that
        compute it stays as it was, and ``"augment_p"``, the mean probability of augmentation.

        The batch goes through the networks in ``settings.accumulate`` parts, each of which leaves its gradients before
        the next one needs memory.
        """
        parts = batch.split(self.settings.accumulate)
        self.optimization.zero_grad()
        generators, critics = self._critics_first(parts) if self.critics_first else self._generators_first(parts)
        self.optimization.finish()
        self.latest |= means(generators) | means(critics)
        if self.settings.critic.augment:
            probabilities = [opponent.probability for opponent in self.opponents.values()]
            self.latest["augment_p"] = torch.stack(probabilities).mean()
        for opponent in self.opponents.values():
            opponent.end_step()
        return StepLog(self.latest.copy())

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """The generators' losses and their sum, ``"generator"``."""
        terms = self._generator_terms(batch, *self._translate(batch), augments=False)
        return StepLog({**terms, "generator": sum_of(terms)})

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """Sim, as real, and back; real, as sim, and back."""

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
        generators, critics = [], []
        for part in parts:
            fakes = self._translate(part)
            generators.append(self._blame_generators(part, *fakes))
            critics.append(self._blame_critics(part, *fakes))
        self.optimization.step(*self.updates["G"], *self.updates["D"])
        return generators, critics

    def _critics_first(self, parts: Sequence[Batch]) -> tuple[list[Losses], list[Losses]]:
        whole = len(parts) == 1
        with torch.set_grad_enabled(whole):  # the graphs of all parts at once would fill the memory that parts save
            fakes = [self._translate(part) for part in parts]
        critics = [self._blame_critics(part, *made) for part, made in zip(parts, fakes, strict=True)]
        self.optimization.step(*self.updates["D"])
        again = fakes if whole else map(self._translate, parts)
        generators = [self._blame_generators(part, *made) for part, made in zip(parts, again, strict=True)]
        self.optimization.step(*self.updates["G"])
        return generators, critics

    def _translate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Fakes of both domains: real ones, simulated ones."""
        with self.settings.autocast():
            return self.G_sim2real(batch.sim, batch.sim_inputs), self.G_real2sim(batch.real, batch.real_inputs)

    def _blame_generators(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Add what a part of a batch gives to the gradients of the generators; returns its losses."""
        with frozen(self.D_real, self.D_sim):
            terms = self._generator_terms(batch, fake_real, fake_sim, augments=True)
            self.optimization.backward(sum_of(terms))
        return detached(terms)

    def _blame_critics(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Likewise of the critics."""
        real = self.opponents["D_real"].losses(batch.real, fake_real, batch.real_inputs, batch.sim_inputs)
        sim = self.opponents["D_sim"].losses(batch.sim, fake_sim, batch.sim_inputs, batch.real_inputs)
        self.optimization.backward(sum_of(real) + sum_of(sim))
        return critic_log({"D_real": real, "D_sim": sim}, self.settings.critic)

    def _generator_terms(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor, *, augments: bool) -> Losses:
        """The weighted terms of the generators' loss."""
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
            "adversarial_real": self.opponents["D_real"].fooled(fake_real, sims, augments=augments),
            "adversarial_sim": self.opponents["D_sim"].fooled(fake_sim, reals, augments=augments),
            **self.settings.weighted(given),
        }

    def stateful(self) -> Mapping[str, Opponent]:
        """What is known of the scores of critics."""
        return {f"opponent_{name}": opponent for name, opponent in self.opponents.items()}

    def own(self) -> Mapping[str, Opponent]:
        """The pools of both critics and the draws of both augmentations."""
        return self.opponents
