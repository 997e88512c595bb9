"""Pseudo-labels for real images without masks, for generators that change each class separately."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sim2real.datasets.labels import NOTHING
from sim2real.errors import SettingsError
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog
from sim2real.methods.segmenting import OnlineSegmenter

_GOLDEN = 0.381966  # share of the colour circle between successive classes, which keeps all hues distinct


class PseudoLabels(Method):
    """Trains a segmenter on simulated images and their masks; it labels the real images that a generator keeps.

    In every second step the segmenter sees the generator's current translations instead of the simulated images, with
    the same masks, so that it fits the real images better and better. Real images with masks of their own keep these.

    Args:
        networks: Factories for the networks; the generator needs the methods ``observe`` and ``label``, like
            :class:`sim2real.networks.classes.ClassDistribution`.
        settings: Learning rates, device.
        every: Number of steps after which the real images are labelled again, in addition to steps 1, 2, 4, 8 ...
        sure: Minimum probability of a class that is accepted as a label, at least 0 and below 1.

    Raises:
        SettingsError: If the generator does not use labels, or an option is out of range.
    """

    reads: ClassVar[frozenset[str] | None] = frozenset({"optim", "schedule", "train.gradient_accumulation_steps"})
    inputs = ("segmentation",)

    def __init__(self, networks: Networks, settings: MethodSettings, *, every: int = 100, sure: float = 0.9) -> None:
        super().__init__(settings)
        if not isinstance(every, int) or every < 1:
            raise SettingsError(f"method.options.every = {every!r} must be a whole number of at least 1")
        if not isinstance(sure, int | float) or not 0 <= sure < 1:
            raise SettingsError(f"method.options.sure = {sure!r} must be a number of at least 0 and below 1")
        self.every, self.sure = every, sure
        self.generator = networks.generator()
        if not hasattr(self.generator.network, "label"):
            raise SettingsError(
                "method.name = 'pseudo-labels' is for generators that change each class separately, such as "
                "'class-distribution'; set generator.name to one of them"
            )
        self.segmenter = OnlineSegmenter(len(settings.classes), settings)
        self.generators = {"sim2real": self.generator}
        self.networks = {"G_sim2real": self.generator, "segmenter": self.segmenter}
        self.sides = {"G_sim2real": ("sim",), "segmenter": ("sim",)}
        self.optimization.add("segmenter", self.segmenter, lr=settings.generator_lr)

    def step(self, batch: Batch) -> StepLog:
        """Update the segmenter once, label the generator's images if due, and log ``"segmenter"``."""
        painter: Any = self.generator.network
        painter.observe(batch.sim, batch.real, batch.real_inputs.get("segmentation"))
        painter.label(self._classes, again=False)
        self.optimization.zero_grad()
        losses, done = [], int(self.segmenter.steps)
        for part in batch.split(self.settings.gradient_accumulation_steps):
            masks, images = part.sim_inputs["segmentation"], part.sim
            if done % 2:
                images = self.generator(images, part.sim_inputs)
            loss = self.segmenter.loss(images, masks)
            self.optimization.backward(loss)
            losses.append(loss.detach())
        self.optimization.step("segmenter")
        self.optimization.finish()
        self.segmenter.end_step()
        if (done + 1) % self.every == 0 or (done + 1).bit_count() == 1:
            painter.label(self._classes, again=True)
        self.latest = {"segmenter": torch.stack(losses).mean()}
        return StepLog(self.latest.copy())

    def _classes(self, images: Tensor) -> Tensor:
        return self.segmenter.label(images, self.sure)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """Return the share of held-out pixels that the segmenter classifies wrongly, 0 to 1."""
        masks = batch.sim_inputs["segmentation"]
        pseudo_labels = self.segmenter.label(batch.sim, 0.0)
        known = masks >= 0
        wrong = ((pseudo_labels != masks) & known).sum() / known.sum().clamp(min=1)
        return StepLog({"segmenter_error": wrong})

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """Return the base class's images, then real images in the colours of their classes, dark where unsure."""
        painted = coloured(batch.real, self._classes(batch.real))
        return [*super().samples(generators, batch), painted]

    def own(self) -> Mapping[str, OnlineSegmenter]:
        """Return the segmenter with its random numbers."""
        return {"segmenter": self.segmenter}


def coloured(images: Tensor, classes: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [-1, 1] in the colours of their classes (N, H, W), dark without a class."""
    hues = classes[:, None] * _GOLDEN + torch.tensor([0.0, 1 / 3, 2 / 3], device=classes.device).view(1, 3, 1, 1)
    colours = (2 * math.pi * hues).cos() * 0.8
    grey = images.mean(dim=1, keepdim=True)
    return torch.where(classes[:, None] == NOTHING, grey * 0.3 - 0.7, 0.5 * grey + 0.6 * colours).clamp(-1, 1)
