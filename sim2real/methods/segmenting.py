"""A segmenter that learns the simulation's masks beside a training, and tells the classes of other pictures."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.datasets.labels import NOTHING
from sim2real.methods.base import Batch, MethodSettings, frozen
from sim2real.methods.clips import beside, frames
from sim2real.networks.segmentation import UNet, in_another_light, standardised

_SURE = 0.9  # the least probability of a class in a real picture that is taken for true
_ITS_OWN = 1.0  # loss of its own pictures, above which its word on others is worth nothing
_SLOW = 500  # steps until it is trusted in full
_RAREST = 1e-3  # share of the pixels: rarer classes count as if they were of so many


class Masks(NamedTuple):
    """The classes of a batch, ``NOTHING`` where they are not known.

    Attributes:
        sim: (N, H, W), or of clips (N, T, H, W).
        real: Likewise.
        trust: What those of real pictures are worth, 0 to 1, a scalar.
    """

    sim: Tensor
    real: Tensor
    trust: Tensor

    def known(self, side: str) -> Tensor:
        """Those of one side, ``"sim"`` or ``"real"``, once the other side's are known as well."""
        masks: Tensor = getattr(self, side)
        return masks.where(self.trust > 0, NOTHING)

    def alike(self, side: str, other: str) -> Tensor:
        """How much the frames of one side show the class of the picture beside each, 0 to 1: (frames, H, W)."""
        masks: Tensor = getattr(self, side)
        mine = frames(masks, of_one=2)
        others = beside(len(mine) // len(masks), getattr(self, other), of_one=2)
        return 1 - self.trust * ((mine != others) | (mine == NOTHING))


class OnlineSegmenter(nn.Module):
    """Learns from pictures with masks, under light that changes at random; so it can be asked about others.

    Args:
        classes: How many classes there are.
        settings: Of the method that it helps.

    Attributes:
        counts: Pixels of each class that it was shown, (classes,).
        recent: Running mean of its loss.
        steps: How many steps it learns.
    """

    counts: Tensor
    recent: Tensor
    steps: Tensor

    def __init__(self, classes: int, settings: MethodSettings) -> None:
        super().__init__()
        self.network = UNet(max(1, classes))
        self.register_buffer("counts", torch.zeros(max(1, classes)))
        self.register_buffer("recent", torch.tensor(2 * _ITS_OWN))
        self.register_buffer("steps", torch.tensor(0.0))
        self._settings = settings
        self._random = torch.Generator().manual_seed(settings.seed + settings.rank)
        self.to(settings.device)

    def loss(self, images: Tensor, masks: Tensor) -> Tensor:
        """Cross entropy of what it says of pictures in another light, rare classes weighted up; a scalar.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            masks: Classes (N, H, W) int64, ``NOTHING`` where there is none.
        """
        known, places = masks != NOTHING, masks.clamp(min=0)
        with torch.no_grad():
            self.counts.scatter_add_(0, places.flatten(), known.flatten().to(self.counts))
            shares = self.counts / self.counts.sum().clamp(min=1)
            weights = (shares.clamp(min=_RAREST) ** -0.5).float()
        seen = in_another_light((images.float() / 2 + 0.5).clamp(0, 1), self._random)
        losses = functional.cross_entropy(self._logits(seen), masks, weights, ignore_index=NOTHING, reduction="none")
        loss = losses.sum() / (weights[places] * known).sum().clamp(min=1e-6)
        self.recent.lerp_(loss.detach(), 0.05)
        return loss

    @property
    def trust(self) -> Tensor:
        """What its word on other pictures is worth, 0 to 1: nothing while it does not know its own, slowly more."""
        return (self.recent < _ITS_OWN) * (self.steps / _SLOW).clamp(max=1)

    def disagreement(self, images: Tensor, masks: Tensor) -> Tensor:
        """Cross entropy of what it says of translated images with the masks of what they are made of; a scalar.

        Semantic consistency (Hoffman et al. 2018, arXiv 1711.03213), times :attr:`trust`. Gradients go to the images.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            masks: As of :meth:`loss`.
        """
        with frozen(self), _statistics_kept(self):
            logits = self._logits(images.float() / 2 + 0.5)
        losses = functional.cross_entropy(logits, masks, ignore_index=NOTHING, reduction="none")
        return self.trust * losses.sum() / (masks != NOTHING).sum().clamp(min=1)

    def end_step(self) -> None:
        """Make what it keeps of pictures one in all processes of the training."""
        self.steps += 1
        self._settings.average([buffer for buffer in self.buffers() if buffer.is_floating_point()])

    def masks(self, batch: Batch, *, for_discriminators: bool) -> Masks:
        """The classes of both sides of a batch: those of real pictures that have none are its own word.

        Args:
            batch: With the masks of the simulation, and of real pictures where they have any.
            for_discriminators: The simulation's are then known no better than those of real pictures, by which
                discriminators could tell the sides apart.
        """
        sim, real = batch.sim_inputs["segmentation"], batch.real_inputs.get("segmentation")
        if real is not None:
            return Masks(sim, real, torch.ones_like(self.trust))
        pseudo_labels = self.label(frames(batch.real), _SURE)
        known = (
            sim.where(self.label(frames(batch.sim), _SURE).view_as(sim) == sim, NOTHING) if for_discriminators else sim
        )
        return Masks(known, pseudo_labels.view(*batch.real.shape[:-3], *pseudo_labels.shape[1:]), self.trust)

    @torch.no_grad()
    def label(self, images: Tensor, sure: float) -> Tensor:
        """The classes of pictures of another kind than it learns from, ``NOTHING`` where it is less sure.

        Its normalisation goes by these pictures' own statistics (Li et al. 2016, arXiv 1603.04779): better several.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            sure: The least probability of a class that is told.

        Returns:
            (N, H, W) int64.
        """
        with _statistics_kept(self):
            logits = self._logits(images.to(self.counts.device).float() / 2 + 0.5)
        probability, classes = logits.softmax(dim=1).max(dim=1)
        return classes.where(probability >= sure, NOTHING)

    def _logits(self, images: Tensor) -> Tensor:
        """Of images in [0, 1], at their own size."""
        height, width = images.shape[-2:]
        stride = UNet.stride
        size = [max(1, round(side / stride)) * stride for side in (height, width)]
        fitting = images if size == [height, width] else functional.interpolate(images, size, mode="bilinear")
        with self._settings.autocast():
            logits: Tensor = self.network(standardised(fitting))
        logits = logits.float()
        if size != [height, width]:
            logits = functional.interpolate(logits, (height, width), mode="bilinear")
        return logits

    def rank_state_dict(self) -> dict[str, Any]:
        """The state of the draws of light."""
        return {"random": self._random.get_state()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        self._random.set_state(state["random"])


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch norms go by the pictures at hand, and remember nothing of them."""
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    was_training = network.training
    network.train()
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        network.train(was_training)
        for norm in norms:
            norm.track_running_stats = True
