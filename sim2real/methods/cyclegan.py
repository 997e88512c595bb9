"""CycleGAN: two generators, a critic of each domain, and the cycle that ties them (Zhu et al. 2017)."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import Batch, MethodSettings, Networks, Scalar, StepLog, frozen
from sim2real.methods.critics import Opponent
from sim2real.networks.blocks import choose
from sim2real.stored import MisfitError, fit

Losses = dict[str, Tensor]


class CycleGAN:
    """Unpaired translation both ways.

    Args:
        networks: Makes the networks.
        settings: Losses, rates, device.
        update_order: Whether the generators or the critics are updated first in a step. Fakes are computed once.
        discriminator_loss_scale: Factor of both critics' losses; 0.5 in the reference, which slows them down.
        optimisers: ``"shared"``: one Adam for both generators and one for both critics; ``"separate"``: one each.
            ``settings.clip`` is of the gradients of each.
    """

    def __init__(
        self,
        networks: Networks,
        settings: MethodSettings,
        *,
        update_order: Literal["generators-first", "discriminators-first"] = "generators-first",
        discriminator_loss_scale: float = 1.0,
        optimisers: Literal["shared", "separate"] = "shared",
    ) -> None:
        orders = {"generators-first": False, "discriminators-first": True}
        self.critics_first = choose("method.options.update_order", update_order, orders)
        separate = choose("method.options.optimisers", optimisers, {"shared": False, "separate": True})
        if not isinstance(discriminator_loss_scale, int | float) or not discriminator_loss_scale >= 0:
            option = f"method.options.discriminator_loss_scale = {discriminator_loss_scale!r}"
            raise SettingsError(f"{option} must be a number of at least 0")
        self.settings = settings
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
        self.generator_optimisers = self._adams(self.G_sim2real, self.G_real2sim, settings.generator_lr, separate)
        self.critic_optimisers = self._adams(self.D_real, self.D_sim, settings.discriminator_lr, separate)
        self.scaler = torch.amp.GradScaler(torch.device(settings.device).type, enabled=settings.precision == "fp16")
        self.latest: Losses = {}
        self.needs_identity = any(getattr(loss, "needs_identity", False) for _, loss in settings.terms.values())

    def step(self, batch: Batch) -> StepLog:
        """Update both generators and both critics once.

        Beside the terms of the generators' loss it logs ``"D_real"`` and ``"D_sim"``, the critics' adversarial losses;
        and of both critics together, where they are used, ``"lecam"`` and ``"r1"``, which between the steps that
        compute it stays as it was, and ``"augment_p"``, the mean probability of augmentation.

        The batch goes through the networks in ``settings.accumulate`` parts, each of which leaves its gradients before
        the next one needs memory.
        """
        parts = batch.split(self.settings.accumulate)
        for optimiser in self.generator_optimisers + self.critic_optimisers:
            optimiser.zero_grad(set_to_none=True)
        generators, critics = self._critics_first(parts) if self.critics_first else self._generators_first(parts)
        self.scaler.update()
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

    def _generators_first(self, parts: Sequence[Batch]) -> tuple[list[Losses], list[Losses]]:
        generators, critics = [], []
        for part in parts:
            fakes = self._translate(part)
            generators.append(self._blame_generators(part, *fakes))
            critics.append(self._blame_critics(part, *fakes))
        self._follow(self.generator_optimisers + self.critic_optimisers)
        return generators, critics

    def _critics_first(self, parts: Sequence[Batch]) -> tuple[list[Losses], list[Losses]]:
        whole = len(parts) == 1
        with torch.set_grad_enabled(whole):  # the graphs of all parts at once would fill the memory that parts save
            fakes = [self._translate(part) for part in parts]
        critics = [self._blame_critics(part, *made) for part, made in zip(parts, fakes, strict=True)]
        self._follow(self.critic_optimisers)
        again = fakes if whole else map(self._translate, parts)
        generators = [self._blame_generators(part, *made) for part, made in zip(parts, again, strict=True)]
        self._follow(self.generator_optimisers)
        return generators, critics

    def _translate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Fakes of both domains: real ones, simulated ones."""
        with self.settings.autocast():
            return self.G_sim2real(batch.sim), self.G_real2sim(batch.real)

    def _blame_generators(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Add what a part of a batch gives to the gradients of the generators; returns its losses."""
        with frozen(self.D_real, self.D_sim):
            terms = self._generator_terms(batch, fake_real, fake_sim, augments=True)
            self._backward(sum_of(terms))
        return detached(terms)

    def _blame_critics(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        """Likewise of the critics."""
        real = self.opponents["D_real"].losses(batch.real, fake_real)
        sim = self.opponents["D_sim"].losses(batch.sim, fake_sim)
        self._backward(sum_of(real) + sum_of(sim))
        log = {"D_real": real.pop("adversarial"), "D_sim": sim.pop("adversarial")}
        log |= {name: penalty + sim[name] for name, penalty in real.items()}
        if "r1" in log:  # in most steps there is none
            log["r1"] = log["r1"] / self.settings.critic.r1_every
        return detached(log)

    def _generator_terms(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor, *, augments: bool) -> Losses:
        """The weighted terms of the generators' loss."""
        with self.settings.autocast():
            images = LossInputs(
                sim=batch.sim,
                real=batch.real,
                fake_real=fake_real,
                fake_sim=fake_sim,
                cycled_sim=self.G_real2sim(fake_real),
                cycled_real=self.G_sim2real(fake_sim),
                identity_sim=self.G_real2sim(batch.sim) if self.needs_identity else None,
                identity_real=self.G_sim2real(batch.real) if self.needs_identity else None,
            )
        return {
            "adversarial_real": self.opponents["D_real"].fooled(fake_real, augments=augments),
            "adversarial_sim": self.opponents["D_sim"].fooled(fake_sim, augments=augments),
            **{name: weight * loss(images) for name, (weight, loss) in self.settings.terms.items()},
        }

    def _adams(self, first: nn.Module, second: nn.Module, rate: float, separate: bool) -> list[torch.optim.Adam]:  # noqa: FBT001  private
        parameters = [[*first.parameters()], [*second.parameters()]]
        groups = parameters if separate else [[*chain(*parameters)]]
        fused = not any(weights.is_meta for weights in groups[0])  # of those there is nothing to compute
        return [torch.optim.Adam(group, lr=rate, betas=self.settings.betas, fused=fused) for group in groups]

    def _backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss / self.settings.accumulate).backward()

    def _follow(self, optimisers: Sequence[torch.optim.Adam]) -> None:
        """Update what the optimisers train by the gradients of all parts and processes."""
        trained = [[*chain(*(group["params"] for group in optimiser.param_groups))] for optimiser in optimisers]
        self.settings.average([weights.grad for weights in chain(*trained) if weights.grad is not None])
        for optimiser, weights in zip(optimisers, trained, strict=True):
            if self.settings.clip:
                self.scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(weights, self.settings.clip)
            self.scaler.step(optimiser)

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its setting times a factor in [0, 1]."""
        for optimisers, rate in (
            (self.generator_optimisers, self.settings.generator_lr),
            (self.critic_optimisers, self.settings.discriminator_lr),
        ):
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor

    def _stateful(self) -> dict[str, Any]:
        optimisers = enumerate(self.generator_optimisers + self.critic_optimisers)
        return {
            **self.networks,
            **{f"optimiser_{number}": optimiser for number, optimiser in optimisers},
            **{f"opponent_{name}": opponent for name, opponent in self.opponents.items()},
            "scaler": self.scaler,
        }

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, the gradient scaler, and what is known of the scores of critics."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        for optimiser in self.generator_optimisers + self.critic_optimisers:
            require_fitting(optimiser)

    def own_state_dict(self) -> dict[str, Any]:
        """The newest losses, the pools of both critics and the draws of both augmentations."""
        opponents = {name: opponent.own_state_dict() for name, opponent in self.opponents.items()}
        return {"latest": self.latest.copy(), **opponents}

    def load_own_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``own_state_dict`` gave."""
        latest = fit(dict[str, Scalar], state["latest"])
        self.latest = {name: loss.to(self.settings.device) for name, loss in latest.items()}
        for name, opponent in self.opponents.items():
            opponent.load_own_state_dict(state[name])


def require_fitting(optimiser: torch.optim.Optimizer) -> None:
    """Make sure that what an optimiser has taken back is of the weights that it trains, which torch does not ask.

    Raises:
        MisfitError: It is not.
    """
    for weights, moments in optimiser.state.items():
        wanted = {"step": torch.Size([]), "exp_avg": weights.shape, "exp_avg_sq": weights.shape}
        found = {name: moment.shape for name, moment in moments.items() if isinstance(moment, Tensor)}
        if moments and found != wanted:
            raise MisfitError("an optimiser's moments are of other weights")


def sum_of(terms: Losses) -> Tensor:
    """The sum of scalar terms."""
    return torch.stack([*terms.values()]).sum()


def detached(terms: Losses) -> Losses:
    """Their values alone."""
    return {name: term.detach() for name, term in terms.items()}


def means(parts: Sequence[Losses]) -> Losses:
    """The mean of each of the losses over parts of a batch."""
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
