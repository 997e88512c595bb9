"""What the networks are trained for: the adversarial game, and terms of the generators' loss.

All losses are computed in float32, whatever the networks computed in.
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
"""What a discriminator returns: one tensor of scores (N, ...), or several."""


@dataclass(frozen=True)
class Adversarial:
    """The two sides of an adversarial loss.

    Where a discriminator returns several tensors of scores, each is judged on its own (the mean over its scores) and
    the losses are added up with the discriminator's ``score_weights``, 1 each if it has none.

    Attributes:
        on_real: What a discriminator loses by scores of real images, elementwise.
        on_fake: What it loses by scores of fake images.
        of_generator_loss: What a generator loses by scores of its fakes.
        boundary: The score of what a discriminator takes for neither.
    """

    on_real: Callable[[Tensor], Tensor]
    on_fake: Callable[[Tensor], Tensor]
    of_generator_loss: Callable[[Tensor], Tensor]
    boundary: float = 0.0

    def discriminator(
        self,
        real: Scores,
        fake: Scores,
        weights: Sequence[float] | None = None,
        where: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The discriminator's loss: that on real images plus that on fake ones; a scalar.

        Args:
            real: Scores of real images.
            fake: Scores of fake ones.
            weights: The discriminator's ``score_weights``.
            where: What each pixel of the real and of the fake images counts, (N, H, W) each in [0, 1]; scores of whole
                images are not weighted.
        """
        in_real, in_fake = where or (None, None)
        return _total(self.on_real, real, weights, in_real) + _total(self.on_fake, fake, weights, in_fake)

    def generator(self, fake: Scores, weights: Sequence[float] | None = None, where: Tensor | None = None) -> Tensor:
        """The generator's loss, from the discriminator's scores of its fakes; a scalar. ``where`` as of fakes above."""
        return _total(self.of_generator_loss, fake, weights, where)


def r1_penalty(
    discriminator: Callable[[Tensor], Scores], images: Tensor, weights: Sequence[float] | None = None
) -> Tensor:
    """Half the squared gradient of scores with respect to the images, R1 of Mescheder et al. (2018); a scalar.

    Of scores of patches that gradient is their sum's, and its square is divided by their number: where patches do not
    overlap this is the mean over them of what each would get alone, whatever the size of the images.

    Args:
        discriminator: Must not mix the images of a batch. Each tensor of scores is judged on its own.
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
    """The squared distance of scores from the mean score of the other kind so far; a scalar.

    The regulariser of Tseng et al. (2021), under which a discriminator cannot part few images ever further; as in their
    equation. Their code (google/lecam-gan) leaves out real scores below that mean and fake ones above it.

    Args:
        real: Scores of real images.
        fake: Scores of fake ones.
        means: (K, 2), of each tensor of scores the running means of those of real and of fake images.
        weights: The discriminator's ``score_weights``.
    """
    of_real, of_fake = means.detach().unbind(1)
    apart = [
        [(scores - mean).square().mean() for scores, mean in zip(tensors_of(each), others, strict=True)]
        for each, others in ((real, of_fake), (fake, of_real))
    ]
    return _weighted(apart[0], weights) + _weighted(apart[1], weights)


def tensors_of(scores: Scores) -> Sequence[Tensor]:
    """Scores as a sequence of tensors, in float32."""
    return [tensor.float() for tensor in ([scores] if isinstance(scores, Tensor) else scores)]


def _total(
    loss: Callable[[Tensor], Tensor], scores: Scores, weights: Sequence[float] | None, where: Tensor | None
) -> Tensor:
    return _weighted([_mean(loss(each), where) for each in tensors_of(scores)], weights)


def _mean(losses: Tensor, where: Tensor | None) -> Tensor:
    """Of a map's losses (N, C, h, w) that of the pixels that count."""
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
    """The adversarial loss of that name: ``"lsgan"``, ``"bce"`` (on logits) or ``"hinge"``.

    Raises:
        SettingsError: There is no such loss.
    """
    return choose("losses.adversarial", name, _ADVERSARIAL)


class LossInputs:
    """What a term of the generators' loss may use: the images of one training step, and their labels.

    Images are (N, C, H, W) in [-1, 1], or (N, T, C, H, W) where the run trains on clips. Every method gives ``sim``; of
    the rest what it computes, which its attribute ``computes`` names. A loss names in ``needs`` what it uses.

    Attributes:
        sim: Simulated images.
        real: Real images; nothing pairs them with the simulated ones.
        fake_real: ``G_sim2real(sim)``.
        fake_sim: ``G_real2sim(real)``.
        cycled_sim: ``G_real2sim(fake_real)``.
        cycled_real: ``G_sim2real(fake_sim)``.
        identity_sim: ``G_real2sim(sim)``, computed only where a loss needs it.
        identity_real: ``G_sim2real(real)``, likewise.
        sim_inputs: Labels of ``sim`` that a loss names in ``inputs``, by kind, see :mod:`sim2real.datasets.inputs`.
        real_inputs: Likewise of ``real``; empty unless a loss needs them.

    Raises:
        PluginError: A loss reads what the method has not computed.
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
    """Labels by kind, of which one that is not there is told of."""

    def __missing__(self, kind: str) -> Tensor:
        raise PluginError(
            f"a loss uses the label '{kind}' of images that were not loaded with it: name it in the attribute inputs "
            "of the loss; and for real_inputs, 'real_inputs' in needs"
        )


class Cycle:
    """Mean absolute difference of images from where their cycle ends, summed over both domains (Zhu et al. 2017)."""

    needs: ClassVar[tuple[str, ...]] = ("real", "cycled_sim", "cycled_real")

    def __call__(self, images: LossInputs) -> Tensor:
        """A scalar, at least 0."""
        return _l1(images.cycled_sim, images.sim) + _l1(images.cycled_real, images.real)


class Identity:
    """Mean absolute change that a generator makes to images of its own output domain, summed over both domains.

    It keeps colours (Taigman et al. 2017, Zhu et al. 2017).
    """

    needs: ClassVar[tuple[str, ...]] = ("real", "identity_sim", "identity_real")

    def __call__(self, images: LossInputs) -> Tensor:
        """A scalar, at least 0."""
        return _l1(images.identity_sim, images.sim) + _l1(images.identity_real, images.real)


def _l1(images: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(images.float(), target.float())


class NewEdges:
    """How much edges of translated frames exceed the strongest that the frame has nearby: what was not there before.

    A differentiable form of the figure ``new_edges``: gradients of blurred brightness, of which the frame's own within
    two pixels, and a little more, are allowed.

    Args:
        slack: What a gradient may be besides, of a range of 2 from black to white.
    """

    needs: ClassVar[tuple[str, ...]] = ("fake_real",)

    def __init__(self, *, slack: float = 0.05) -> None:
        if not isinstance(slack, int | float) or slack < 0:
            raise SettingsError(f"losses.new-edges.options.slack = {slack!r} must be a number of at least 0")
        self.slack = slack

    def __call__(self, images: LossInputs) -> Tensor:
        """A scalar, at least 0."""
        before, after = _gradients(images.sim), _gradients(images.fake_real)
        allowed = functional.max_pool2d(before, 5, stride=1, padding=2)
        return (after - allowed - self.slack).relu().mean()


class FlowConsistency:
    """How much what is done to a frame differs from what is done to the next one, along the simulator's optical flow.

    The mean over visible pixels of ``|[G(a) - W G(b)] - [a - W b]|`` for each frame a and the next one b, where W looks
    up each pixel of a at the place at which b shows it. Pictures need not stay the same along the flow, but change as
    the source does, whose highlights may move (Gao et al. 2018, ReCoNet, who allow that for brightness). A pixel is
    visible where its flow is known and ends in the frame, and where the source itself is alike at both ends, as few
    hidden ones are (after Lai et al. 2018).

    Args:
        tolerance: How unlike the source may be at both ends of the flow, as the mean of its channels, of a range of 2
            from black to white.
        clip_length: How many consecutive frames are seen at once, where others ask for more than two.

    Raises:
        SettingsError: An option does not fit.
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
        """A scalar, at least 0; 0 where no pixel is visible."""
        flow = images.sim_inputs["flow"][:, :-1].flatten(0, 1).float()
        source = images.sim.float()
        both = torch.cat([source, images.fake_real.float() - source], dim=2)
        there, is_inside = _along(both[:, 1:].flatten(0, 1), flow)
        unlike, flicker = ((both[:, :-1].flatten(0, 1) - there).abs().unflatten(1, (2, -1)).mean(2)).unbind(1)
        visible = (flow[:, 2] > 0) & is_inside & (unlike <= self.tolerance)
        mean: Tensor = (flicker * visible).sum() / visible.sum().clamp(min=1)
        return mean


def _along(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) where flow (N, 2 or more, H, W) in pixels ends, and whether that is inside, (N, H, W)."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    places = torch.stack([(x + 0.5) * 2 / width - 1, (y + 0.5) * 2 / height - 1], dim=-1)
    there = functional.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
    return there, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _gradients(images: Tensor) -> Tensor:
    """How fast brightness changes in blurred images (N, 3, H, W), or in clips: (N, 1, H, W)."""
    grey = (images.flatten(0, -4).float() * _LUMA.to(images.device)).sum(1, keepdim=True)
    soft = functional.conv2d(functional.pad(grey, (2, 2, 2, 2), mode="replicate"), _BLUR.to(images.device))
    down = functional.pad(soft.diff(dim=2), (0, 0, 0, 1))
    across = functional.pad(soft.diff(dim=3), (0, 1))
    return (down.square() + across.square() + 1e-8).sqrt()


_LUMA: Final = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
_BLUR: Final = torch.outer(*[torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16] * 2).view(1, 1, 5, 5)
