"""CycleGAN: two generators, a critic of each domain, and the cycle that ties them (Zhu et al. 2017)."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import Batch, MethodSettings, Networks, StepLog, frozen
from sim2real.methods.pool import ImagePool
from sim2real.networks.blocks import choose


class CycleGAN:
    """Unpaired translation both ways.

    Args:
        networks: Makes the networks.
        settings: Losses, rates, device.
        update_order: Whether the generators or the critics are updated first in a step. Fakes are computed once.
        discriminator_loss_scale: Factor of both critics' losses; 0.5 in the reference, which slows them down.
        optimisers: ``"shared"``: one Adam for both generators and one for both critics; ``"separate"``: one each.
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
        self.critic_scale = discriminator_loss_scale
        self.G_sim2real, self.G_real2sim = networks.generator(), networks.generator()
        self.D_real, self.D_sim = networks.discriminator(), networks.discriminator()
        self.pool_real = ImagePool(settings.pool, seed=settings.seed)
        self.pool_sim = ImagePool(settings.pool, seed=settings.seed + 1)
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
        self.needs_identity = any(getattr(loss, "needs_identity", False) for _, loss in settings.terms.values())

    def step(self, batch: Batch) -> StepLog:
        """Update both generators and both critics once."""
        with self.settings.autocast():
            fake_real, fake_sim = self.G_sim2real(batch.sim), self.G_real2sim(batch.real)
        critic = self._update_critics(batch, fake_real, fake_sim) if self.critics_first else None
        with frozen(self.D_real, self.D_sim):
            terms = self._generator_terms(batch, fake_real, fake_sim)
            self._update(self.generator_optimisers, sum_of(terms))
        if critic is None:
            critic = self._update_critics(batch, fake_real, fake_sim)
        self.scaler.update()
        return StepLog({name: loss.detach() for name, loss in {**terms, **critic}.items()})

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """The generators' losses and their sum, ``"generator"``."""
        with self.settings.autocast():
            fake_real, fake_sim = self.G_sim2real(batch.sim), self.G_real2sim(batch.real)
        terms = self._generator_terms(batch, fake_real, fake_sim)
        return StepLog({**terms, "generator": sum_of(terms)})

    def _generator_terms(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the generators' loss."""
        game = self.settings.adversarial
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
            judged_real, judged_sim = self.D_real(fake_real), self.D_sim(fake_sim)
        return {
            "adversarial_real": game.generator(judged_real, score_weights(self.D_real)),
            "adversarial_sim": game.generator(judged_sim, score_weights(self.D_sim)),
            **{name: weight * loss(images) for name, (weight, loss) in self.settings.terms.items()},
        }

    def _update_critics(self, batch: Batch, fake_real: Tensor, fake_sim: Tensor) -> dict[str, Tensor]:
        losses = {
            "D_real": self._critic_loss(self.D_real, batch.real, self.pool_real(fake_real.detach())),
            "D_sim": self._critic_loss(self.D_sim, batch.sim, self.pool_sim(fake_sim.detach())),
        }
        self._update(self.critic_optimisers, sum_of(losses))
        return losses

    def _critic_loss(self, critic: nn.Module, images: Tensor, fakes: Tensor) -> Tensor:
        with self.settings.autocast():
            judged_images, judged_fakes = critic(images), critic(fakes)
        loss = self.settings.adversarial.discriminator(judged_images, judged_fakes, score_weights(critic))
        return self.critic_scale * loss

    def _adams(self, first: nn.Module, second: nn.Module, rate: float, separate: bool) -> list[torch.optim.Adam]:  # noqa: FBT001  private
        parameters = [[*first.parameters()], [*second.parameters()]]
        groups = parameters if separate else [[*chain(*parameters)]]
        return [torch.optim.Adam(group, lr=rate, betas=self.settings.betas) for group in groups]

    def _update(self, optimisers: list[torch.optim.Adam], loss: Tensor) -> None:
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        for optimiser in optimisers:
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
            "pool_real": self.pool_real,
            "pool_sim": self.pool_sim,
            "scaler": self.scaler,
        }

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, image pools and the gradient scaler."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])


def score_weights(critic: nn.Module) -> tuple[float, ...] | None:
    """How a critic weighs its own scores; None: all alike."""
    return getattr(critic, "score_weights", None)


def sum_of(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of scalar terms."""
    return torch.stack([*terms.values()]).sum()
