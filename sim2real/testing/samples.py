"""Synthetic images and labels for the checks; equal in every run."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.inputs import KINDS
from sim2real.datasets.labels import Box, Boxes, Label, Segmentation

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 5
_NAMES = {0: "sky", 1: "road", 2: "car", 3: "building", 4: "tree"}


class Sample(NamedTuple):
    """An image, RGB uint8 (H, W, 3), and its labels by kind."""

    picture: NDArray[np.uint8]
    labels: dict[str, Label]


def sample_pictures(count: int, size: tuple[int, int] = (128, 96), *, seed: int = 0) -> list[Sample]:
    """Return images of a road under a sky with a few objects, and their labels: ``segmentation`` and ``boxes``.

    Args:
        count: Number of images.
        size: (W, H).
        seed: Seed of the images.
    """
    return [_sample(np.random.default_rng([seed, number]), *size) for number in range(count)]


def _sample(random: np.random.Generator, width: int, height: int) -> Sample:
    ids = np.zeros((height, width), np.int32)
    ids[height // 2 + int(random.integers(-height // 8, height // 8)) :] = 1
    boxes = []
    for _ in range(4):
        kind = int(random.integers(2, CLASSES))
        wide, high = (int(random.integers(side // 8, side // 3)) for side in (width, height))
        left, top = int(random.integers(0, width - wide)), int(random.integers(height // 4, height - high))
        ids[top : top + high, left : left + wide] = kind
        if kind == 2:
            boxes.append(Box(_NAMES[kind], left, top, left + wide, top + high))
    colours = np.array([(150, 190, 230), (90, 90, 95), (170, 40, 40), (140, 120, 100), (40, 100, 50)], np.float32)
    shade = cv2.resize(random.normal(0, 12, (height // 8, width // 8)).astype(np.float32), (width, height))
    picture = colours[ids] + shade[..., None] + random.normal(0, 3, (height, width, 3))
    return Sample(
        np.clip(picture, 0, 255).astype(np.uint8),
        {"segmentation": Segmentation(ids, _NAMES), "boxes": Boxes(tuple(boxes))},
    )


def sample_inputs(
    kinds: Iterable[str], lead: Sequence[int], size: tuple[int, int], *, seed: int = 0
) -> "dict[str, Tensor]":
    """Return random labels as networks see them, see :mod:`sim2real.datasets.inputs`.

    Args:
        kinds: ``"segmentation"``, ``"depth"``, ...
        lead: The leading dimensions: ``(N,)``, or ``(N, T)`` for clips.
        size: (H, W).
        seed: Seed of the labels.
    """
    import torch  # noqa: PLC0415  images need no torch

    random = np.random.default_rng(seed)
    found = {}
    for kind in kinds:
        form = KINDS[kind]
        channels = () if form.channels is None else (form.channels,)
        shape = (*lead, *channels, *size)
        values = np.floor(random.uniform(-1, CLASSES, shape)) if form.channels is None else random.uniform(0, 40, shape)
        if kind == "translation":  # an image
            values = random.uniform(-1, 1, shape)
        elif (form.channels or 1) > 1:  # the last channel is the mask of known pixels
            values[..., -1, :, :] = values[..., -1, :, :] > 5
        found[kind] = torch.from_numpy(values.astype(form.dtype))
    return found
