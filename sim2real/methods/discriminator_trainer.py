"""The training of a discriminator, shared by all methods and discriminators."""

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

_DECAY = 0.99  # of the running means per step, as in google/lecam-gan
_RAMP = 1000  # steps in which the probability of augmentation can rise from 0 to 1


@dataclass(frozen=True, slots=True)
class _Kept:
    """The saved state of a trainer."""

    steps: Count
    probability: Scalar
    means: Annotated[Tensor, Rule("three means of each score", lambda means: means.shape[1:] == (3,))] | None


class DiscriminatorTrainer:
    """The discriminator of one domain, with its losses and the regularisation of ``settings.regularization``.

    There are two penalties besides the adversarial loss. R1 (Mescheder et al. 2018) is computed in float32 in every
    ``r1_every``-th step, on images as the discriminator sees them, and its weight is multiplied by ``r1_every`` (Karras
    et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"). LeCam (Tseng et al. 2021) compares scores
    with the running means of earlier steps, and begins in the second step.

    The probability of augmentation adapts as in Karras et al. (2020), "Training GANs with Limited Data". It changes by
    a constant in each step: it rises while the mean sign of the scores of the domain's images, relative to the decision
    boundary, is above ``augment_target``, and falls otherwise. The paper's target, 0.6, means that four in five of
    these images are recognised as real. In the paper it can rise from 0 to 1 within 500,000 images, 2 % of the longest
    run; here within 1,000 steps.

    Args:
        network: The discriminator: images in [-1, 1] -> scores. Spectral normalisation is added here.
        settings: Settings of the method.
        scale: Factor of the discriminator's adversarial loss.
        seed: Seed of the pool and of the augmentation.

    Raises:
        SettingsError: If the augmentation does not suit what the discriminator sees, or if it supports fewer classes
            than the run has.
    """

    def __init__(self, network: RangeAdapter, settings: MethodSettings, *, scale: float, seed: int) -> None:
        self.network = network
        self.settings = settings
        self.scale = scale
        self.weights: tuple[float, ...] | None = getattr(network, "score_weights", None)
        self.pool = ImagePool(settings.image_pool_size, seed=seed)
        self.augment = DiffAugment(settings.regularization.augment, seed=seed + 2**62)  # independent of the pool
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
                f"labels, which '{moving[0]}' would not move with the images; only color is accepted"
            )
        if settings.regularization.augment and self.clip_length > 1:
            raise SettingsError(
                "discriminator.regularization.augment: the discriminator sees clips, whose frames would be changed "
                "differently; leave it empty"
            )
        known: int = getattr(network, "classes", len(settings.classes))
        if network.kinds and known < len(settings.classes):
            message = f"discriminator.options.classes = {known}: the run has {len(settings.classes)} classes"
            raise SettingsError(f"{message}; set classes = {len(settings.classes)}")
        if settings.regularization.spectral_norm:
            add_spectral_norm(network)

    def generator_loss(
        self, fakes: Tensor, inputs: Inputs | None = None, *, augments: bool = True, where: Tensor | None = None
    ) -> Tensor:
        """Return the adversarial loss of the generator that made the fakes.

        Args:
            fakes: Translations (N, C, H, W), or clips of them.
            inputs: Labels of the images from which the fakes were made.
            augments: Whether the fakes are augmented as in training; otherwise no random numbers are used.
            where: Weight of each pixel of the single frames, (N, H, W); None: all pixels count alike.
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
        """Return the discriminator's losses on images of its domain and on fakes.

        The pool replaces some of the fakes by older ones.

        Args:
            images: Images of the domain (N, C, H, W), or clips.
            fakes: Translations into the domain, of the same shape.
            inputs: Labels of the images.
            fake_inputs: Labels of the images from which the fakes were made.
            where: Weights of the pixels of images and of fakes, as in :meth:`generator_loss`.

        Returns:
            The terms of the loss that apply in this step: ``"adversarial"``, ``"lecam"``, ``"r1"``.
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
            # forward() and not the call: compiled calls have no second derivative
            penalty = r1_penalty(partial(self.network.forward, inputs=inputs), images, self.weights)
            losses["r1"] = regularization.r1_every * regularization.r1 * penalty
        if regularization.lecam or self.adapts:
            self._figures.append(self._figures_of(of_images, of_fakes))
        return losses

    def _judged(self, images: Tensor, inputs: Inputs | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return images and labels as the discriminator sees them: clips as single frames, unless it judges clips."""
        kinds = self.network.kinds
        wanted = {kind: values for kind, values in (inputs or {}).items() if kind in kinds}
        if images.dim() == 5 and self.clip_length == 1:
            return images.flatten(0, 1), flattened(wanted)
        return images, wanted

    def end_step(self) -> None:
        """Update running means and the probability of augmentation after all parts of a step's batch."""
        self.steps += 1
        if not self._figures:
            return
        figures = torch.stack(self._figures).mean(0)
        self._figures.clear()
        self.settings.average([figures])
        newest = (1 - _DECAY) / (1 - _DECAY**self.steps)  # corrects the bias of the first steps
        self.means = figures if self.means is None else self.means.lerp(figures, newest)
        if self.adapts:
            excess = self.means[:, 2].mean() - self.settings.regularization.augment_target
            self.probability = (self.probability + excess.sign() / _RAMP).clamp(0, 1)

    def _figures_of(self, of_images: Scores, of_fakes: Scores) -> Tensor:
        """Return, for each tensor of scores, the means for images and fakes and the mean sign for images: (K, 3)."""
        boundary = self.settings.adversarial.boundary
        rows = [
            torch.stack([of_image.mean(), of_fake.mean(), (of_image - boundary).sign().mean()])
            for of_image, of_fake in zip(tensors_of(of_images), tensors_of(of_fakes), strict=True)
        ]
        return torch.stack(rows).detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is equal in all processes, without the network's."""
        return {"steps": self.steps, "probability": self.probability, "means": self.means}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        device = self.probability.device
        kept = fit(_Kept, state)
        self.steps = kept.steps
        self.probability = kept.probability.to(device)
        self.means = None if kept.means is None else kept.means.to(device)

    def rank_state_dict(self) -> dict[str, Any]:
        """Return the state that differs between processes: that of the pool and the augmentation."""
        return {"pool": self.pool.state_dict(), "augment": self.augment.state_dict()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        self.pool.load_state_dict(state["pool"])
        self.augment.load_state_dict(state["augment"])


def discriminator_log(losses: Mapping[str, Losses], regularization: Regularization) -> Losses:
    """Return the losses to log: the adversarial loss of each discriminator by its name, and the sum of each penalty.

    Args:
        losses: Name of a discriminator -> its losses from :meth:`DiscriminatorTrainer.discriminator_loss`.
        regularization: Regularisation of the discriminators.
    """
    log = {name: each["adversarial"] for name, each in losses.items()}
    for penalty in ("lecam", "r1"):
        if terms := [each[penalty] for each in losses.values() if penalty in each]:
            log[penalty] = torch.stack(terms).sum()
    if "r1" in log:
        log["r1"] = log["r1"] / regularization.r1_every
    return detached(log)
