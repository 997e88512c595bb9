"""The training of a discriminator, whichever method and whichever discriminator it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor

from sim2real.config import Regularization
from sim2real.errors import SettingsError
from sim2real.losses import Scores, lecam_penalty, r1_penalty, tensors_of
from sim2real.methods.base import Inputs, Losses, MethodSettings, Scalar, detached
from sim2real.methods.diffaugment import DiffAugment
from sim2real.methods.pool import ImagePool
from sim2real.networks import RangeAdapter
from sim2real.networks.blocks import add_spectral_norm
from sim2real.networks.range_adapter import flattened
from sim2real.stored import Count, Rule, fit

_DECAY = 0.99  # of running means, a step; as in google/lecam-gan
_RAMP = 1000  # steps in which the probability of augmentation can go from 0 to 1


@dataclass(frozen=True, slots=True)
class _Kept:
    """Its state."""

    steps: Count
    probability: Scalar
    means: Annotated[Tensor, Rule("three means of each score", lambda means: means.shape[1:] == (3,))] | None


class DiscriminatorTrainer:
    """A discriminator of one domain, with all that keeps it in check, as ``settings.regularization`` says.

    Beside the adversarial loss it has two penalties. R1 (Mescheder et al. 2018) is computed in float32 in every
    ``r1_every``-th step, on images as the discriminator sees them, and counts as many times as much (Karras et al.
    2020, "Analyzing and Improving the Image Quality of StyleGAN"). LeCam (Tseng et al. 2021) compares scores with the
    means of those before, which the first step has none of.

    The probability of augmentation adapts as in Karras et al. (2020), "Training GANs with Limited Data": by a constant
    in each step, up while the mean sign of the scores of its domain's images, less the score of what is neither, is
    above ``augment_target``, else down. 0.6, their choice, is reached where four in five are told for what they are.
    Theirs goes from 0 to 1 within 500,000 images, 2 % of their longest run; this one takes 1,000 steps.

    Args:
        network: The discriminator: images in [-1, 1] -> scores. It gets its spectral norm here.
        settings: Of the method.
        scale: Factor of its adversarial loss.
        seed: Seeds what it draws.

    Raises:
        SettingsError: What it sees cannot be augmented so.
    """

    def __init__(self, network: RangeAdapter, settings: MethodSettings, *, scale: float, seed: int) -> None:
        self.network = network
        self.settings = settings
        self.scale = scale
        self.weights: tuple[float, ...] | None = getattr(network, "score_weights", None)
        self.pool = ImagePool(settings.image_pool_size, seed=seed)
        self.augment = DiffAugment(settings.regularization.augment, seed=seed + 2**62)  # other draws than the pool's
        self.adapts = bool(settings.regularization.augment and settings.regularization.augment_target)
        self.steps = 0
        self.probability = torch.tensor(0.0 if self.adapts else 1.0, device=settings.device)
        self.means: Tensor | None = None
        self.clip_length: int = getattr(network, "clip_length", 1)
        self._figures: list[Tensor] = []
        moving = [name for name in settings.regularization.augment if name != "color"]
        if moving and network.kinds:
            raise SettingsError(
                f"discriminator.regularization.augment = {settings.regularization.augment}: the discriminator sees "
                f"labels, which '{moving[0]}' would not move with the images; accepted with it: color"
            )
        if settings.regularization.augment and self.clip_length > 1:
            raise SettingsError(
                "discriminator.regularization.augment: the discriminator sees clips, whose frames would change unlike"
            )
        known: int = getattr(network, "classes", len(settings.classes))
        if network.kinds and known < len(settings.classes):
            message = f"discriminator.options.classes = {known}: there are {len(settings.classes)} classes to tell"
            raise SettingsError(f"{message} apart; say classes = {len(settings.classes)}")
        if settings.regularization.spectral_norm:
            add_spectral_norm(network)

    def generator_loss(
        self, fakes: Tensor, inputs: Inputs | None = None, *, augments: bool = True, where: Tensor | None = None
    ) -> Tensor:
        """The loss of the generator of the fakes; without augmentation nothing is sampled at random.

        Args:
            fakes: (N, C, H, W), or clips.
            inputs: Labels of the images that the fakes were made of.
            augments: Whether they are augmented as in training.
            where: What each pixel of the single frames counts, (N, H, W); None: all alike.
        """
        fakes, inputs = self._judged(fakes, inputs)
        if augments:
            fakes = self.augment(fakes, self.probability)
        with self.settings.autocast():
            scores = self.network(fakes, inputs)
        return self.settings.adversarial.generator(scores, self.weights, where)

    def discriminator_loss(
        self,
        images: Tensor,
        fakes: Tensor,
        inputs: Inputs | None = None,
        fake_inputs: Inputs | None = None,
        where: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The discriminator's loss on images of its domain and on fakes, some of which are exchanged for older ones.

        Args:
            images: Of its domain, (N, C, H, W), or clips.
            fakes: Likewise.
            inputs: Labels of the images.
            fake_inputs: Labels of the images that the fakes were made of.
            where: What each pixel counts, of images and of fakes, as above.

        Returns:
            The terms of its loss, each where it is due: ``"adversarial"``, ``"lecam"``, ``"r1"``.
        """
        regularization = self.settings.regularization
        images, inputs = self._judged(images, inputs)
        fakes, fake_inputs = self.pool(*self._judged(fakes.detach(), fake_inputs))
        images, fakes = self.augment(images, self.probability), self.augment(fakes, self.probability)
        with self.settings.autocast():
            of_images, of_fakes = self.network(images, inputs), self.network(fakes, fake_inputs)
        game = self.settings.adversarial
        losses = {"adversarial": self.scale * game.discriminator(of_images, of_fakes, self.weights, where)}
        if regularization.lecam and self.means is not None:
            losses["lecam"] = regularization.lecam * lecam_penalty(of_images, of_fakes, self.means[:, :2], self.weights)
        if regularization.r1 and self.steps % regularization.r1_every == 0:
            # what compile() makes of a call has no second derivative
            penalty = r1_penalty(partial(self.network.forward, inputs=inputs), images, self.weights)
            losses["r1"] = regularization.r1_every * regularization.r1 * penalty
        if regularization.lecam or self.adapts:
            self._figures.append(self._figures_of(of_images, of_fakes))
        return losses

    def _judged(self, images: Tensor, inputs: Inputs | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Images as the discriminator judges them, those of clips one by one unless it judges clips, and its labels."""
        kinds = self.network.kinds
        wanted = {kind: values for kind, values in (inputs or {}).items() if kind in kinds}
        if images.dim() == 5 and self.clip_length == 1:
            return images.flatten(0, 1), flattened(wanted)
        return images, wanted

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
            excess = self.means[:, 2].mean() - self.settings.regularization.augment_target
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

    def rank_state_dict(self) -> dict[str, Any]:
        """What it drew at random."""
        return {"pool": self.pool.state_dict(), "augment": self.augment.state_dict()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        self.pool.load_state_dict(state["pool"])
        self.augment.load_state_dict(state["augment"])


def discriminator_log(losses: Mapping[str, Losses], regularization: Regularization) -> Losses:
    """What is logged of discriminators: the adversarial loss of each by its name, and the sum of each penalty.

    Args:
        losses: Name of a discriminator -> what :meth:`DiscriminatorTrainer.discriminator_loss` gave of it.
        regularization: What keeps them in check.
    """
    log = {name: each["adversarial"] for name, each in losses.items()}
    for penalty in ("lecam", "r1"):
        if terms := [each[penalty] for each in losses.values() if penalty in each]:
            log[penalty] = torch.stack(terms).sum()
    if "r1" in log:  # in most steps there is none
        log["r1"] = log["r1"] / regularization.r1_every
    return detached(log)
