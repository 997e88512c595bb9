"""A segmenter that learns the simulation's masks during a training and predicts the classes of other images."""

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

_SURE = 0.9  # minimum probability of a class that is accepted in a real image
_ITS_OWN = 1.0  # loss on the training images above which predictions for other images are not trusted
_SLOW = 500  # steps until predictions are fully trusted
_RAREST = 1e-3  # minimum share of pixels assumed for weights of classes


class Masks(NamedTuple):
    """The classes of a batch, ``NOTHING`` where they are unknown.

    Attributes:
        sim: Masks of the simulated images, (N, H, W), or (N, T, H, W) for clips.
        real: Masks of the real images, of the same shape.
        trust: Reliability of the real images' masks, 0 to 1, a scalar.
    """

    sim: Tensor
    real: Tensor
    trust: Tensor

    def known(self, side: str) -> Tensor:
        """Return the masks of one side, ``"sim"`` or ``"real"``; all ``NOTHING`` while ``trust`` is 0."""
        masks: Tensor = getattr(self, side)
        return masks.where(self.trust > 0, NOTHING)

    def alike(self, side: str, other: str) -> Tensor:
        """Return weights (frames, H, W) in [0, 1] that are high where both sides show the same class."""
        masks: Tensor = getattr(self, side)
        mine = frames(masks, of_one=2)
        others = beside(len(mine) // len(masks), getattr(self, other), of_one=2)
        return 1 - self.trust * ((mine != others) | (mine == NOTHING))


class OnlineSegmenter(nn.Module):
    """A segmenter that learns from images with masks, under random light, so that it generalises to other images.

    Args:
        classes: Number of classes.
        settings: Settings of the method that uses the segmenter.

    Attributes:
        counts: Number of pixels of each class seen so far, (classes,).
        recent: Running mean of the loss.
        steps: Number of training steps so far.
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
        """Return the cross entropy on images under random light, with higher weights for rare classes; a scalar.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            masks: Classes (N, H, W) int64, ``NOTHING`` for pixels without a class.
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
        """Reliability of predictions for other images, 0 to 1: 0 while the loss is high, and rising over the steps."""
        return (self.recent < _ITS_OWN) * (self.steps / _SLOW).clamp(max=1)

    def disagreement(self, images: Tensor, masks: Tensor) -> Tensor:
        """Return the cross entropy of translations with the masks of their sources; a scalar.

        This is semantic consistency (Hoffman et al. 2018, arXiv 1711.03213), times :attr:`trust`. Gradients reach the
        images, but not the segmenter.

        Args:
            images: Translations, (N, 3, H, W) in [-1, 1].
            masks: Classes (N, H, W), as in :meth:`loss`.
        """
        with frozen(self), _statistics_kept(self):
            logits = self._logits(images.float() / 2 + 0.5)
        losses = functional.cross_entropy(logits, masks, ignore_index=NOTHING, reduction="none")
        return self.trust * losses.sum() / (masks != NOTHING).sum().clamp(min=1)

    def end_step(self) -> None:
        """Count the step and average the buffers over all processes of the training."""
        self.steps += 1
        self._settings.average([buffer for buffer in self.buffers() if buffer.is_floating_point()])

    def masks(self, batch: Batch, *, for_discriminators: bool) -> Masks:
        """Return the masks of both sides of a batch; those of real images are predicted if they have none.

        Args:
            batch: Batch with the masks of the simulated images and, if available, of the real images.
            for_discriminators: Whether the simulation's masks keep only pixels that the segmenter also predicts with
                certainty, so that discriminators cannot tell the sides apart by their masks.
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
        """Predict the classes of images of another domain, ``NOTHING`` where the prediction is uncertain.

        Normalisation uses the statistics of these images (Li et al. 2016, arXiv 1603.04779), so that several images
        give better results than one.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            sure: Minimum probability of a class.

        Returns:
            (N, H, W) int64.
        """
        with _statistics_kept(self):
            logits = self._logits(images.to(self.counts.device).float() / 2 + 0.5)
        probability, classes = logits.softmax(dim=1).max(dim=1)
        return classes.where(probability >= sure, NOTHING)

    def _logits(self, images: Tensor) -> Tensor:
        """Return the logits of images in [0, 1], at the images' size."""
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
        """Return the state of the random numbers for light."""
        return {"random": self._random.get_state()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        self._random.set_state(state["random"])


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Make batch norms use the statistics of the current images without updating the running ones."""
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
