"""The held-out images of a training, for losses, metrics and sample grids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.augment import Augment
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.inputs import (
    LEADS_TO,
    Inputs,
    Values,
    cut_input,
    label_in_window,
    read_input,
    scale_input,
    unknown_motion,
)
from sim2real.datasets.labels import Label
from sim2real.datasets.resizing import Scale
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_header, read_rgb
from sim2real.methods.base import Batch, Method
from sim2real.networks.colour import as_pictures
from sim2real.training.data import as_floats, channels_first
from sim2real.training.domains import Domain
from sim2real.training.specs import PLAIN, DataSpec, SideSpec, followers

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shown:
    """An image, or the frames of a clip, with labels.

    Attributes:
        frames: The frames, RGB (T, H, W, 3); T is 1 for an image.
        inputs: The labels that the training needs, kind -> (T, ...).
        is_clip: Whether it is a clip.
        known: All labels of each frame on these pixels, read on access.
    """

    frames: Image
    inputs: Inputs
    is_clip: bool
    known: Sequence[Mapping[str, Label]]

    def images(self, device: str) -> Tensor:
        """Return the image as a tensor (1, 3, H, W) in [-1, 1], or the clip as (1, T, 3, H, W)."""
        images = as_floats(channels_first(self.frames), device)
        return images[None] if self.is_clip else images

    def labels(self, device: str) -> dict[str, Tensor]:
        """Return the labels as tensors, kind -> (1, ...), or (1, T, ...) for a clip."""
        labels = {kind: torch.from_numpy(values).to(device) for kind, values in self.inputs.items()}
        return {kind: values[None] for kind, values in labels.items()} if self.is_clip else labels


class HeldOut:
    """The held-out images of both domains, in order; if a domain holds out none, its training images.

    Args:
        sim: The simulated images.
        real: The real images.
        augment: Brings the images to the size of a batch.
        device: Device of the batches.
        spec: The labels and clips that the training needs.
        vocabulary: The classes of the run.

    Attributes:
        complete: Whether both domains hold out images.
    """

    def __init__(
        self,
        sim: Domain,
        real: Domain,
        augment: Augment,
        device: str,
        *,
        spec: DataSpec = PLAIN,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.complete = bool(sim.held_out and real.held_out)
        self.sides = {"sim": sim.held_out or sim.train, "real": real.held_out or real.train}
        self.augment = augment
        self.device = device
        self.spec = spec
        self.vocabulary = vocabulary or Vocabulary(())

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield up to ``count`` batches of one image or clip each, always the same; unreadable files are skipped."""
        pairs = zip(self._shown("sim"), self._shown("real"), strict=False)
        for sim, real in islice(pairs, count):
            sims, reals = sim.labels(self.device), real.labels(self.device)
            yield Batch(sim.images(self.device), real.images(self.device), sims, reals)

    def shown(self, side: Side, count: int) -> list[Shown]:
        """Return the first readable images or clips of a domain, up to ``count``."""
        return [*islice(self._shown(side), count)]

    def _shown(self, side: Side) -> Iterator[Shown]:
        frames, side_spec = self.sides[side], self.spec.of(side)
        runs = [[number] for number in range(len(frames))]
        if side_spec.clip_length > 1:
            runs = _apart(followers(frames, side_spec.clip_length).values())
        for run in runs:
            try:
                read = [self._read(frames[number], side_spec) for number in run]
                shown = np.stack([image for image, _ in read])
            except (ImageError, DatasetError, ValueError):  # the training reports unreadable files
                continue
            inputs = {kind: np.stack([labels[kind] for _, labels in read]) for kind in side_spec.kinds}
            known = [_Known(frames[number], self.augment) for number in run]
            yield Shown(shown, inputs, side_spec.clip_length > 1, known)

    def _read(self, frame: Frame, side_spec: SideSpec) -> tuple[Image, dict[str, Values]]:
        image = read_rgb(frame.path)
        height, width = image.shape[:2]
        target = self.augment.scaled_size(width, height)
        labels = {}
        for kind in side_spec.kinds:
            if kind in LEADS_TO and kind not in frame.labels:
                labels[kind] = unknown_motion(kind, self.augment.size)
                continue
            values = scale_input(read_input(frame, kind, self.vocabulary), kind, Scale((width, height), target))
            labels[kind] = cut_input(values, kind, *self.augment.places(*target, seed=None))
        return self.augment(image, seed=None), labels


class _Known(Mapping[str, Label]):
    """The labels of a frame by kind, on the pixels of its window."""

    def __init__(self, frame: Frame, augment: Augment) -> None:
        self._frame = frame
        self._augment = augment

    def __getitem__(self, kind: str) -> Label:
        if kind not in self._frame.labels:
            raise KeyError(kind)
        header = read_header(self._frame.path)
        size = header.width, header.height
        target = self._augment.scaled_size(*size)
        places = self._augment.places(*target, seed=None)
        try:
            return label_in_window(self._frame.load_label(kind), Scale(size, target), *places)
        except ValueError as error:
            raise DatasetError(f"{self._frame.path}: its label '{kind}' has another size: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.labels)

    def __len__(self) -> int:
        return len(self._frame.labels)


def _apart(runs: Iterable[list[int]]) -> list[list[int]]:
    """Return the runs that have no number in common with an earlier one."""
    found, seen = [], set[int]()
    for run in runs:
        if seen.isdisjoint(run):
            found.append(run)
            seen.update(run)
    return found


@torch.inference_mode()
def sample_grid(method: Method, generators: Mapping[str, nn.Module], batches: Iterable[Batch]) -> Image:
    """Return a grid, RGB (H, W, 3), with a row of the method's samples for each batch; of clips the first frame."""
    with evaluating(generators.values()):
        rows = [torch.cat([*map(_first_frame, method.samples(generators, batch))], dim=3) for batch in batches]
    (grid,) = as_pictures(torch.cat(rows, dim=2))
    return np.asarray(grid)


def _first_frame(images: Tensor) -> Tensor:
    return (images[:, 0] if images.dim() == 5 else images).float()


@contextmanager
def evaluating(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Put networks in evaluation mode within this context; compiled networks run uncompiled there."""
    networks = list(networks)
    for network in networks:
        network.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for network in networks:
            network.train()
