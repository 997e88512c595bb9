"""The adversarial loss and the other terms of the generators' loss.

All losses are computed in float32, whatever the precision of the networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional

from sim2real.errors import PluginError, SettingsError
from sim2real.networks.blocks import choose

Scores = Tensor | Sequence[Tensor]
"""Output of a discriminator: one tensor of scores (N, ...), or several."""


@dataclass(frozen=True)
class Adversarial:
    """The two sides of an adversarial loss.

    If a discriminator returns several tensors of scores, the loss of each is the mean over its scores. These losses are
    added with the discriminator's ``score_weights``, 1 each if it has none.

    Attributes:
        on_real: Discriminator's loss for scores of real images, elementwise.
        on_fake: Discriminator's loss for scores of fake images, elementwise.
        on_fake_for_generator: Generator's loss for scores of its fakes, elementwise.
        boundary: Score at the decision boundary, halfway between real and fake.
    """

    on_real: Callable[[Tensor], Tensor]
    on_fake: Callable[[Tensor], Tensor]
    on_fake_for_generator: Callable[[Tensor], Tensor]
    boundary: float = 0.0

    def discriminator(
        self,
        real: Scores,
        fake: Scores,
        weights: Sequence[float] | None = None,
        where: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the discriminator's loss, the sum of its losses on real and on fake images; a scalar.

        Args:
            real: Scores of real images.
            fake: Scores of fake images.
            weights: The discriminator's ``score_weights``.
            where: Weights of the pixels of the real and the fake images, (N, H, W) each, in [0, 1]; scores of whole
                images are not weighted.
        """
        in_real, in_fake = where or (None, None)
        return _total(self.on_real, real, weights, in_real) + _total(self.on_fake, fake, weights, in_fake)

    def generator(self, fake: Scores, weights: Sequence[float] | None = None, where: Tensor | None = None) -> Tensor:
        """Return the generator's loss for the scores of its fakes; a scalar. ``where`` has the weights of pixels."""
        return _total(self.on_fake_for_generator, fake, weights, where)


def r1_penalty(
    discriminator: Callable[[Tensor], Scores], images: Tensor, weights: Sequence[float] | None = None
) -> Tensor:
    """Return half the squared gradient of scores with respect to images, R1 of Mescheder et al. (2018); a scalar.

    For scores of patches, this is the squared gradient of their sum, divided by their number. If patches do not
    overlap, it equals the mean penalty of single patches, whatever the size of the images.

    Args:
        discriminator: The discriminator; it must not mix the images of a batch. Each tensor of scores has its own term.
        images: Real images (N, C, H, W).
        weights: The discriminator's ``score_weights``.
    """
    images = images.detach().float().requires_grad_()
    terms = []
    with torch.enable_grad():
        for scores in tensors_of(discriminator(images)):
            (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
            terms.append(gradient.square().sum() / scores.numel() / 2)
    return _weighted(terms, weights)


def lecam_penalty(real: Scores, fake: Scores, means: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Return the squared distance of scores from the running mean score of the other kind; a scalar.

    This is the regulariser of Tseng et al. (2021), which keeps a discriminator from separating a small set of images
    ever further. It follows their equation; their code (google/lecam-gan) leaves out real scores below that mean and
    fake scores above it.

    Args:
        real: Scores of real images.
        fake: Scores of fake images.
        means: Running means of the scores of real and of fake images for each tensor of scores, (K, 2).
        weights: The discriminator's ``score_weights``.
    """
    of_real, of_fake = means.detach().unbind(1)
    apart = [
        [(scores - mean).square().mean() for scores, mean in zip(tensors_of(each), others, strict=True)]
        for each, others in ((real, of_fake), (fake, of_real))
    ]
    return _weighted(apart[0], weights) + _weighted(apart[1], weights)


def tensors_of(scores: Scores) -> Sequence[Tensor]:
    """Return scores as a sequence of float32 tensors."""
    return [tensor.float() for tensor in ([scores] if isinstance(scores, Tensor) else scores)]


def _total(
    loss: Callable[[Tensor], Tensor], scores: Scores, weights: Sequence[float] | None, where: Tensor | None
) -> Tensor:
    return _weighted([_mean(loss(each), where) for each in tensors_of(scores)], weights)


def _mean(losses: Tensor, where: Tensor | None) -> Tensor:
    """Return the mean of losses, for maps (N, C, h, w) weighted by pixel."""
    if where is None or losses.dim() != 4:
        return losses.mean()
    counts = functional.adaptive_avg_pool2d(where.to(losses)[:, None], (losses.shape[2], losses.shape[3]))
    return (counts * losses).sum() / (counts.sum() * losses.shape[1]).clamp(min=1)


def _weighted(terms: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    weighted = [weight * term for weight, term in zip(weights or [1.0] * len(terms), terms, strict=True)]
    return torch.stack(weighted).sum()


_ADVERSARIAL = {
    # least squares, Mao et al. 2017
    "lsgan": Adversarial(lambda s: (s - 1).square(), lambda s: s.square(), lambda s: (s - 1).square(), 0.5),
    # cross entropy of sigmoid(score), Goodfellow et al. 2014, with the generator's non-saturating loss
    "bce": Adversarial(lambda s: functional.softplus(-s), functional.softplus, lambda s: functional.softplus(-s)),
    # hinge, Lim and Ye 2017
    "hinge": Adversarial(lambda s: (1 - s).relu(), lambda s: (1 + s).relu(), lambda s: -s),
}


def adversarial(name: str) -> Adversarial:
    """Return the adversarial loss with a name: ``"lsgan"``, ``"bce"`` (on logits) or ``"hinge"``.

    Raises:
        SettingsError: If there is no such loss.
    """
    return choose("losses.adversarial", name, _ADVERSARIAL)


class LossInputs:
    """The images of one training step and their labels, as inputs of the terms of the generators' loss.

    Images are (N, C, H, W) in [-1, 1], or (N, T, C, H, W) in runs that train on clips. Every method provides ``sim``,
    and those other fields that its attribute ``computes`` names. A loss names the fields that it uses in ``needs``.

    Attributes:
        sim: Simulated images.
        real: Real images, not paired with the simulated ones.
        fake_real: ``G_sim2real(sim)``.
        fake_sim: ``G_real2sim(real)``.
        cycled_sim: ``G_real2sim(fake_real)``.
        cycled_real: ``G_sim2real(fake_sim)``.
        identity_sim: ``G_real2sim(sim)``, computed only if a loss needs it.
        identity_real: ``G_sim2real(real)``, computed only if a loss needs it.
        sim_inputs: Labels of ``sim`` that a loss names in ``inputs``, by kind, see :mod:`sim2real.datasets.inputs`.
        real_inputs: Labels of ``real``, in the same form; empty unless a loss needs them.

    Raises:
        PluginError: If a loss reads a field that the method has not computed.
    """

    sim: Tensor
    real: Tensor
    fake_real: Tensor
    fake_sim: Tensor
    cycled_sim: Tensor
    cycled_real: Tensor
    identity_sim: Tensor
    identity_real: Tensor

    def __init__(
        self,
        *,
        sim: Tensor,
        sim_inputs: Mapping[str, Tensor] | None = None,
        real_inputs: Mapping[str, Tensor] | None = None,
        **images: Tensor,
    ) -> None:
        self.sim_inputs: Mapping[str, Tensor] = _Labels(sim_inputs or {})
        self.real_inputs: Mapping[str, Tensor] = _Labels(real_inputs or {})
        self.__dict__.update(images, sim=sim)

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        message = f"a loss uses '{name}', which the method has not computed: name it in the attribute needs of the loss"
        raise PluginError(message)


class _Labels(dict[str, Tensor]):
    """Labels by kind; reading a missing kind raises a ``PluginError``."""

    def __missing__(self, kind: str) -> Tensor:
        raise PluginError(
            f"a loss uses the label '{kind}' of images that were not loaded with it: name it in the attribute inputs "
            "of the loss; for real_inputs, also name 'real_inputs' in needs"
        )


class Cycle:
    """Mean absolute difference between images and their cycled versions, summed over both domains (Zhu et al. 2017)."""

    needs: ClassVar[tuple[str, ...]] = ("real", "cycled_sim", "cycled_real")

    def __call__(self, images: LossInputs) -> Tensor:
        """Return a scalar of at least 0."""
        return _l1(images.cycled_sim, images.sim) + _l1(images.cycled_real, images.real)


class Identity:
    """Mean absolute change that a generator makes to images of its own output domain, summed over both domains.

    This loss preserves colours (Taigman et al. 2017, Zhu et al. 2017).
    """

    needs: ClassVar[tuple[str, ...]] = ("real", "identity_sim", "identity_real")

    def __call__(self, images: LossInputs) -> Tensor:
        """Return a scalar of at least 0."""
        return _l1(images.identity_sim, images.sim) + _l1(images.identity_real, images.real)


def _l1(images: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(images.float(), target.float())


class NewEdges:
    """Mean excess of the edges of translations over the strongest edges that the frame has nearby.

    This is a differentiable form of the value ``new_edges``. Edges are gradients of the blurred brightness; allowed are
    the greatest gradient of the frame within two pixels, plus a margin.

    Args:
        slack: Margin by which gradients may exceed the frame's, for a range of 2 from black to white.

    Raises:
        SettingsError: If ``slack`` is not a number of at least 0.
    """

    needs: ClassVar[tuple[str, ...]] = ("fake_real",)

    def __init__(self, *, slack: float = 0.05) -> None:
        if not isinstance(slack, int | float) or slack < 0:
            raise SettingsError(f"losses.new-edges.options.slack = {slack!r} must be a number of at least 0")
        self.slack = slack

    def __call__(self, images: LossInputs) -> Tensor:
        """Return a scalar of at least 0."""
        before, after = _gradients(images.sim), _gradients(images.fake_real)
        allowed = functional.max_pool2d(before, 5, stride=1, padding=2)
        return (after - allowed - self.slack).relu().mean()


class Teacher:
    """L1 between translations and those that another program made of the same frames.

    The run needs them: ``data.translations`` names a run of ``sim2real import-frames``.
    """

    needs: ClassVar[tuple[str, ...]] = ("fake_real",)
    inputs: ClassVar[tuple[str, ...]] = ("translation",)

    def __call__(self, images: LossInputs) -> Tensor:
        """Return a scalar of at least 0, for a range of 2 from black to white."""
        return (images.fake_real.float() - images.sim_inputs["translation"].float()).abs().mean()


class FlowConsistency:
    """Difference between the changes made to a frame and to the next one, along the simulator's optical flow.

    The loss is the mean over visible pixels of ``|[G(a) - W G(b)] - [a - W b]|`` for each frame a and the next frame b;
    W looks up each pixel of a at its position in b. Translations need not be constant along the flow, but must change
    like their sources, in which highlights may move (Gao et al. 2018, ReCoNet, allow this for brightness). A pixel is
    visible if its flow is known and ends in the frame, and if the source is similar at both ends, which is rare for
    occluded pixels (after Lai et al. 2018).

    Args:
        tolerance: Maximum difference of the source between both ends of the flow, as the mean over channels, for a
            range of 2 from black to white.
        clip_length: Number of consecutive frames that the loss requests, at least 2.

    Raises:
        SettingsError: If an option is out of range.
    """

    needs: ClassVar[tuple[str, ...]] = ("fake_real",)
    inputs: ClassVar[tuple[str, ...]] = ("flow",)

    def __init__(self, *, tolerance: float = 0.1, clip_length: int = 2) -> None:
        if not isinstance(tolerance, int | float) or tolerance <= 0:
            raise SettingsError(f"losses.flow.options.tolerance = {tolerance!r} must be a number above 0")
        if not isinstance(clip_length, int) or clip_length < 2:
            raise SettingsError(
                f"losses.flow.options.clip_length = {clip_length!r} must be a whole number of 2 or more"
            )
        self.tolerance = tolerance
        self.clip_length = clip_length

    def __call__(self, images: LossInputs) -> Tensor:
        """Return a scalar of at least 0; 0 if no pixel is visible."""
        flow = images.sim_inputs["flow"][:, :-1].flatten(0, 1).float()
        source = images.sim.float()
        both = torch.cat([source, images.fake_real.float() - source], dim=2)
        there, is_inside = _along(both[:, 1:].flatten(0, 1), flow)
        unlike, flicker = ((both[:, :-1].flatten(0, 1) - there).abs().unflatten(1, (2, -1)).mean(2)).unbind(1)
        visible = (flow[:, 2] > 0) & is_inside & (unlike <= self.tolerance)
        mean: Tensor = (flicker * visible).sum() / visible.sum().clamp(min=1)
        return mean


def _along(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Look up images (N, C, H, W) at the ends of flow (N, 2 or more, H, W) in pixels.

    Returns:
        The images at these positions, and whether they lie inside, (N, H, W).
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    places = torch.stack([(x + 0.5) * 2 / width - 1, (y + 0.5) * 2 / height - 1], dim=-1)
    there = functional.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
    return there, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _gradients(images: Tensor) -> Tensor:
    """Return the gradient magnitude (N, 1, H, W) of the brightness of blurred images (N, 3, H, W), or of clips."""
    grey = (images.flatten(0, -4).float() * _LUMA.to(images.device)).sum(1, keepdim=True)
    soft = functional.conv2d(functional.pad(grey, (2, 2, 2, 2), mode="replicate"), _BLUR.to(images.device))
    down = functional.pad(soft.diff(dim=2), (0, 0, 0, 1))
    across = functional.pad(soft.diff(dim=3), (0, 1))
    return (down.square() + across.square() + 1e-8).sqrt()


_LUMA: Final = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
_BLUR: Final = torch.outer(*[torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16] * 2).view(1, 1, 5, 5)
