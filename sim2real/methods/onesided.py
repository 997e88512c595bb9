"""One generator, one critic, no way back: for generators that cannot move what they see.

Where a generator only decides on light and colours, nothing has to be held in place by cycles or by contrast: the
critic alone says what is real. Statistics of one real picture, drawn for each simulated one, keep the two from going in
circles.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import (
    Batch,
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
from sim2real.networks.statistics import colour_moments, radial_spectrum, unevenness

_BANDS = 16


class OneSided(Method):
    """Unpaired translation one way by a critic and by the statistics of single pictures.

    A generator may offer ``paint(images, styles, seeds)``, which gives pictures, how rough they are, and how uneven
    what was done to them is, with ``style_of(images)`` and ``keep(styles)``: its styles are then those of the real
    pictures that are drawn; see :class:`sim2real.networks.grid.Grid`. The critic is updated first.

    Args:
        networks: Makes the networks.
        settings: Losses, rates, device.
        moments: Weight of how far the mean and the root of the covariance of the colours are from the drawn picture's,
            of a range of 1.
        spectrum: Weight of how far the logarithms of its spectrum are, in 16 bands.
        roughness: Weight of what a generator that paints says of how rough it does.
        unevenness: Weight of how much what is done to images changes from place to place where they do not, see
            :func:`sim2real.networks.statistics.unevenness`.
        overshoot: Weight of how far pictures are out of [-1, 1].
        discriminator_loss_scale: Factor of the critic's loss.
    """

    computes: ClassVar[frozenset[str]] = frozenset({"real", "fake_real"})
    reads: ClassVar[frozenset[str] | None] = frozenset(
        {"pool", "discriminator", "critic", "losses", "optim", "schedule", "train.accumulate"}
    )
    judges = ("D_real",)
    sides: Mapping[str, tuple[str, ...]] = MappingProxyType({"G_sim2real": ("sim",)})

    def __init__(
        self,
        networks: Networks,
        settings: MethodSettings,
        *,
        moments: float = 0.5,
        spectrum: float = 0.1,
        roughness: float = 0.01,
        unevenness: float = 20.0,
        overshoot: float = 0.5,
        discriminator_loss_scale: float = 1.0,
    ) -> None:
        super().__init__(settings)
        self.weights = {"moments": moments, "spectrum": spectrum, "overshoot": overshoot}
        self.weights |= {"roughness": roughness, "unevenness": unevenness}
        for name, weight in {**self.weights, "discriminator_loss_scale": discriminator_loss_scale}.items():
            if not isinstance(weight, int | float) or weight < 0:
                raise SettingsError(f"method.options.{name} = {weight!r} must be a number of at least 0")
        self.G, self.D_real = networks.generator(), networks.discriminator()
        self.paints = hasattr(self.G.network, "paint")
        seed = settings.seed + settings.rank
        self.opponent = Opponent(self.D_real, settings, scale=discriminator_loss_scale, seed=seed)
        self.seeds = _Seeds(seed)
        self.generators = {"sim2real": self.G}
        self.networks = {"G_sim2real": self.G, "D_real": self.D_real}
        self.optimization.add("G", self.G, lr=settings.generator_lr)
        self.optimization.add("D", self.D_real, lr=settings.discriminator_lr)

    def step(self, batch: Batch) -> StepLog:
        """Update the critic and the generator once.

        It logs ``"adversarial_real"``, ``"moments"``, ``"spectrum"``, ``"overshoot"``, ``"unevenness"``, of a
        generator that paints ``"roughness"``, and the other terms, ``"D_real"``, and of the critic what CycleGAN logs
        of its critics.
        """
        parts = batch.split(self.settings.accumulate)
        seeds = [self.seeds.draw(len(part.sim)) for part in parts]
        if self.paints:
            painter: Any = self.G.network
            painter.keep(painter.style_of(_frames(batch.real)))
        self.optimization.zero_grad()
        with torch.set_grad_enabled(len(parts) == 1):  # the graphs of all parts at once would fill the memory
            made = [self._translate(*each) for each in zip(parts, seeds, strict=True)]
        critics = [self._blame_critic(part, fake) for part, (fake, _) in zip(parts, made, strict=True)]
        self.optimization.step("D")
        if len(parts) > 1:
            made = map(self._translate, parts, seeds)  # type: ignore[assignment]  # one at a time
        generators = [self._blame_generator(*each) for each in zip(parts, made, strict=True)]
        self.optimization.step("G")
        self.optimization.finish()
        self.latest |= means(generators) | means(critics)
        if self.settings.critic.augment:
            self.latest["augment_p"] = self.opponent.probability
        self.opponent.end_step()
        return StepLog(self.latest.copy())

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """The generator's losses on a batch, nothing updated and nothing drawn."""
        made = self._translate(batch, np.arange(len(batch.sim), dtype=np.uint64))
        return StepLog(detached(self._terms(batch, *made, augments=False)))

    def _translate(self, batch: Batch, seeds: "np.ndarray[Any, np.dtype[np.uint64]]") -> tuple[Tensor, Losses]:
        """Pictures, and what says how rough and how uneven they are."""
        with self.settings.autocast():
            if self.paints:
                painter: Any = self.G.network
                made, terms = painter.paint(batch.sim, painter.style_of(batch.real), seeds)
                return self.G.as_transferred(batch.sim, made), terms
            more = {"seeds": seeds} if getattr(self.G.network, "stochastic", False) else {}
            fake: Tensor = self.G(batch.sim, batch.sim_inputs, **more)
        before, after = (_frames(each).float() / 2 + 0.5 for each in (batch.sim, fake))
        return fake, {"unevenness": unevenness(before, after)}

    def _blame_critic(self, batch: Batch, fake: Tensor) -> Losses:
        """Add what a part of a batch gives to the gradients of the critic; returns its losses."""
        losses = self.opponent.losses(batch.real, fake, batch.real_inputs, batch.sim_inputs)
        self.optimization.backward(sum_of(losses))
        return critic_log({"D_real": losses}, self.settings.critic)

    def _blame_generator(self, batch: Batch, made: tuple[Tensor, Losses]) -> Losses:
        """Likewise of the generator."""
        with frozen(self.D_real):
            terms = self._terms(batch, *made, augments=True)
            self.optimization.backward(sum_of(terms))
        return detached(terms)

    def _terms(self, batch: Batch, fake: Tensor, painted: Losses, *, augments: bool) -> Losses:
        """The weighted terms of the generator's loss."""
        given = LossInputs(
            sim=batch.sim,
            real=batch.real,
            fake_real=fake,
            sim_inputs=batch.sim_inputs,
            real_inputs=batch.real_inputs,
        )
        own = {**_unlikeness(_frames(fake), _frames(batch.real)), **painted}
        own["overshoot"] = (fake.float().abs() - 1).relu().mean()
        return {
            "adversarial_real": self.opponent.fooled(fake, batch.sim_inputs, augments=augments),
            **{name: weight * own[name] for name, weight in self.weights.items() if weight and name in own},
            **self.settings.weighted(given),
        }

    def stateful(self) -> Mapping[str, Opponent]:
        """What is known of the critic's scores."""
        return {"opponent": self.opponent}

    def own(self) -> "Mapping[str, Opponent | _Seeds]":
        """The critic's pool, the draws of its augmentation, and those of seeds."""
        return {"opponent": self.opponent, "seeds": self.seeds}


def _frames(images: Tensor) -> Tensor:
    """Clips as single images."""
    return images.flatten(0, 1) if images.dim() == 5 else images


def _unlikeness(fakes: Tensor, pictures: Tensor) -> Losses:
    """How far the colours and the spectra of pictures are from those of others, each from its own."""
    fakes, pictures = fakes.float() / 2 + 0.5, pictures.float() / 2 + 0.5
    (mean, root), (wanted_mean, wanted_root) = colour_moments(fakes), colour_moments(pictures)
    apart = (mean - wanted_mean).abs().sum(1) + torch.linalg.matrix_norm(root - wanted_root)
    spectra = radial_spectrum(fakes, _BANDS) - radial_spectrum(pictures, _BANDS)
    return {"moments": apart.mean(), "spectrum": spectra.abs().mean()}


class _Seeds:
    """Numbers for what a generator draws at random, of each process its own."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        """So many."""
        return torch.randint(2**62, (count,), generator=self.random).numpy().astype(np.uint64)

    def own_state_dict(self) -> dict[str, Any]:
        """The state of the draws."""
        return {"random": self.random.get_state()}

    def load_own_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``own_state_dict`` gave."""
        self.random.set_state(state["random"])
