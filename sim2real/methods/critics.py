"""What a method trains a critic with, whichever method and whichever critic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from sim2real.losses import Scores, lecam_penalty, r1_penalty, tensors_of
from sim2real.methods.base import MethodSettings, Scalar
from sim2real.methods.diffaugment import DiffAugment
from sim2real.methods.pool import ImagePool
from sim2real.networks import Ranged
from sim2real.networks.blocks import add_spectral_norm
from sim2real.stored import Count, Rule, fit

_DECAY = 0.99  # of running means, a step; as in google/lecam-gan
_RAMP = 1000  # steps in which the probability of augmentation can go from 0 to 1


@dataclass(frozen=True, slots=True)
class _Kept:
    """The state of an opponent."""

    steps: Count
    probability: Scalar
    means: Annotated[Tensor, Rule("three means of each score", lambda means: means.shape[1:] == (3,))] | None


class Opponent:
    """A critic of one domain, with all that keeps it in check, as ``settings.critic`` says.

    Beside the adversarial loss it has two penalties. R1 (Mescheder et al. 2018) is computed in float32 in every
    ``r1_every``-th step, on images as the critic sees them, and counts as many times as much (Karras et al. 2020,
    "Analyzing and Improving the Image Quality of StyleGAN"). LeCam (Tseng et al. 2021) compares scores with the means
    of those before, which the first step has none of.

    The probability of augmentation adapts as in Karras et al. (2020), "Training GANs with Limited Data": by a constant
    in each step, up while the mean sign of the scores of its domain's images, less the score of what is neither, is
    above ``augment_target``, else down. 0.6, their choice, is reached where four in five are told for what they are.
    Theirs goes from 0 to 1 within 500,000 images, 2 % of their longest run; this one takes 1,000 steps.

    Args:
        network: The critic: images in [-1, 1] -> scores. It gets its spectral norm here.
        settings: Of the method.
        scale: Factor of its adversarial loss.
        seed: Seeds what it draws.
    """

    def __init__(self, network: Ranged, settings: MethodSettings, *, scale: float, seed: int) -> None:
        self.network = network
        self.settings = settings
        self.scale = scale
        self.weights: tuple[float, ...] | None = getattr(network, "score_weights", None)
        self.pool = ImagePool(settings.pool, seed=seed)
        self.augment = DiffAugment(settings.critic.augment, seed=seed + 2**62)  # other draws than the pool's
        self.adapts = bool(settings.critic.augment and settings.critic.augment_target)
        self.steps = 0
        self.probability = torch.tensor(0.0 if self.adapts else 1.0, device=settings.device)
        self.means: Tensor | None = None
        self._figures: list[Tensor] = []
        if settings.critic.spectral_norm:
            add_spectral_norm(network)

    def fooled(self, fakes: Tensor, *, augments: bool = True) -> Tensor:
        """What the generator of the fakes loses; without augmentation nothing is drawn."""
        if augments:
            fakes = self.augment(fakes, self.probability)
        with self.settings.autocast():
            scores = self.network(fakes)
        return self.settings.adversarial.generator(scores, self.weights)

    def losses(self, images: Tensor, fakes: Tensor) -> dict[str, Tensor]:
        """What the critic loses by images of its domain, and by fakes, of which some are exchanged for older ones.

        Returns:
            The terms of its loss, each where it is due: ``"adversarial"``, ``"lecam"``, ``"r1"``.
        """
        critic = self.settings.critic
        images = self.augment(images, self.probability)
        fakes = self.augment(self.pool(fakes.detach()), self.probability)
        with self.settings.autocast():
            of_images, of_fakes = self.network(images), self.network(fakes)
        losses = {
            "adversarial": self.scale * self.settings.adversarial.discriminator(of_images, of_fakes, self.weights)
        }
        if critic.lecam and self.means is not None:
            losses["lecam"] = critic.lecam * lecam_penalty(of_images, of_fakes, self.means[:, :2], self.weights)
        if critic.r1 and self.steps % critic.r1_every == 0:
            # what compile() makes of a call has no second derivative
            penalty = r1_penalty(self.network.forward, images, self.weights)
            losses["r1"] = critic.r1_every * critic.r1 * penalty
        if critic.lecam or self.adapts:
            self._figures.append(self._figures_of(of_images, of_fakes))
        return losses

    def end_step(self) -> None:
        """Take note of a step of training, when all parts of its batch were seen."""
        self.steps += 1
        if not self._figures:
            return
        figures = torch.stack(self._figures).mean(0)
        self._figures.clear()
        self.settings.average([figures])
        newest = (1 - _DECAY) / (1 - _DECAY**self.steps)  # not drawn to where the means begin
        self.means = figures if self.means is None else self.means.lerp(figures, newest)
        if self.adapts:
            excess = self.means[:, 2].mean() - self.settings.critic.augment_target
            self.probability = (self.probability + excess.sign() / _RAMP).clamp(0, 1)

    def _figures_of(self, of_images: Scores, of_fakes: Scores) -> Tensor:
        """Of each tensor of scores: the means of both kinds, and the mean sign of those of images. (K, 3)."""
        boundary = self.settings.adversarial.boundary
        rows = [
            torch.stack([of_image.mean(), of_fake.mean(), (of_image - boundary).sign().mean()])
            for of_image, of_fake in zip(tensors_of(of_images), tensors_of(of_fakes), strict=True)
        ]
        return torch.stack(rows).detach()

    def state_dict(self) -> dict[str, Any]:
        """What of it is equal in all processes, but for the network."""
        return {"steps": self.steps, "probability": self.probability, "means": self.means}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        device = self.probability.device
        kept = fit(_Kept, state)
        self.steps = kept.steps
        self.probability = kept.probability.to(device)
        self.means = None if kept.means is None else kept.means.to(device)

    def own_state_dict(self) -> dict[str, Any]:
        """What it drew at random."""
        return {"pool": self.pool.state_dict(), "augment": self.augment.state_dict()}

    def load_own_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``own_state_dict`` gave."""
        self.pool.load_state_dict(state["pool"])
        self.augment.load_state_dict(state["augment"])
