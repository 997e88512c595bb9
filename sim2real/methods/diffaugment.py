"""Random augmentation of all images that a discriminator sees, so that it cannot memorise a small set of images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sim2real.networks.blocks import choose

_TRANSLATION = 1 / 8  # maximum shift, as a share of a side
_CUTOUT = 1 / 2  # share of a side


class DiffAugment:
    """Differentiable augmentation (Zhao et al. 2020): gradients pass through it, so generators do not imitate it.

    ``"color"`` changes brightness by up to 0.5, saturation by a factor in [0, 2) and contrast by a factor in
    [0.5, 1.5). ``"translation"`` shifts an image by up to an eighth of its sides and fills the border with grey.
    ``"cutout"`` replaces a rectangle of half the image's sides by grey; it may lie partly outside. Augmentations are
    applied in the given order.

    Args:
        names: Names of the augmentations; if empty, images stay as they are and no random numbers are used.
        seed: Seed of the random numbers, which are sampled for each image.

    Raises:
        SettingsError: If there is no such augmentation.
    """

    def __init__(self, names: Sequence[str], *, seed: int) -> None:
        self.steps = [choose("discriminator.regularization.augment", name, _STEPS) for name in names]
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor, probability: Tensor) -> Tensor:
        """Augment each image with the given probability.

        Args:
            images: (N, C, H, W) in [-1, 1].
            probability: A scalar in [0, 1], on the device of the images.

        Returns:
            (N, C, H, W); colours may exceed [-1, 1].
        """
        if not self.steps:
            return images
        draws = torch.rand(len(images), 1 + sum(step.draws for step in self.steps), generator=self.random)
        happens, *columns = draws.to(images.device, non_blocking=images.device.type != "mps")[
            ..., None, None, None
        ].unbind(1)
        augmented = images
        for step in self.steps:
            augmented = step.apply(augmented, *columns[: step.draws])
            columns = columns[step.draws :]
        return torch.where(happens < probability, augmented, images)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random numbers."""
        return {"random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self.random.set_state(state["random"])


class _Step(NamedTuple):
    """An augmentation of images.

    Attributes:
        draws: Number of random numbers in [0, 1) that it needs for each image.
        apply: Function of the images and these numbers, (N, 1, 1, 1) each.
    """

    draws: int
    apply: Callable[..., Tensor]


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translation(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    for axis, draw in ((2, down), (3, right)):
        places, length = _places(images, axis), images.shape[axis]
        furthest = round(length * _TRANSLATION)
        sources = places - ((2 * furthest + 1) * draw).floor().long() + furthest
        inside = (sources >= 0) & (sources < length)
        images = images.gather(axis, sources.clamp(0, length - 1).expand_as(images)) * inside
    return images


def _cutout(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    hidden: list[Tensor] = []
    for axis, draw in ((2, down), (3, right)):
        places, length = _places(images, axis), images.shape[axis]
        side = round(length * _CUTOUT)
        begin = ((length + 1 - side % 2) * draw).floor().long() - side // 2
        hidden.append((places >= begin) & (places < begin + side))
    return images * ~(hidden[0] & hidden[1])


def _places(images: Tensor, axis: int) -> Tensor:
    """Return the indices of rows (axis 2) or columns (axis 3) of images, along that axis of a tensor."""
    return torch.arange(images.shape[axis], device=images.device).view(-1, *[1] * (3 - axis))


_STEPS = {"color": _Step(3, _color), "translation": _Step(2, _translation), "cutout": _Step(2, _cutout)}
