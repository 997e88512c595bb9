"""What held-out images show of a training: losses and pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.augment import Augment
from sim2real.errors import ImageError
from sim2real.imageio import read_rgb
from sim2real.methods.base import Batch
from sim2real.training.data import Domain, as_floats, channels_first


class HeldOut:
    """Held-out images of both domains, side by side in order; training images of a domain that holds out none.

    Attributes:
        complete: Whether both domains hold out some.
    """

    def __init__(self, sim: Domain, real: Domain, augment: Augment, device: str) -> None:
        self.complete = bool(sim.held_out and real.held_out)
        self.sides = (sim.held_out or sim.train, real.held_out or real.train)
        self.augment = augment
        self.device = device

    def batches(self, count: int) -> Iterator[Batch]:
        """The same batches of one image each, every time; files that cannot be read are left out."""
        for sim, real in islice(zip(*map(self._images, self.sides), strict=False), count):
            yield Batch(sim, real)

    def pictures(self, count: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
        """The first images of each domain, as many as can be read up to ``count``: RGB (H, W, 3) each."""
        sim, real = ([*islice(self._pictures(paths), count)] for paths in self.sides)
        return sim, real

    def _images(self, paths: Sequence[Path]) -> Iterator[Tensor]:
        for picture in self._pictures(paths):
            yield as_floats(channels_first(picture[None]), self.device)

    def _pictures(self, paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
        for path in paths:
            try:
                image = read_rgb(path)
            except ImageError:  # training names it when it meets it
                continue
            yield self.augment(image, seed=None)


@torch.inference_mode()
def sample_grid(generators: Mapping[str, nn.Module], batches: Iterable[Batch]) -> NDArray[np.uint8]:
    """A picture, a row for each batch: sim, as real, and back | real, as sim, and back. RGB (H, W, 3)."""
    with evaluating(generators.values()):
        rows = [torch.cat([*_tour(generators, batch)], dim=3) for batch in batches]
    return as_pixels(torch.cat(rows, dim=2))


def as_pixels(image: Tensor) -> NDArray[np.uint8]:
    """One image (1, 3, H, W) in [-1, 1] -> RGB (H, W, 3)."""
    pixels = image[0].float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).cpu().numpy()


def _tour(generators: Mapping[str, nn.Module], batch: Batch) -> Iterator[Tensor]:
    for images, ways in ((batch.sim, ("sim2real", "real2sim")), (batch.real, ("real2sim", "sim2real"))):
        shown = images
        yield shown
        for way in ways:
            if way in generators:
                shown = generators[way](shown).float()
                yield shown


@contextmanager
def evaluating(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode; what is compiled for training is not compiled again for this."""
    networks = list(networks)
    for network in networks:
        network.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for network in networks:
            network.train()
