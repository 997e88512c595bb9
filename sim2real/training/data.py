"""Unpaired images: what is trained on, what is held out, and which images make up which step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sim2real.augment import Augment
from sim2real.config import Config
from sim2real.datasets import open_dataset
from sim2real.datasets.base import Frame, Side
from sim2real.errors import DatasetError, ImageError, SettingsError
from sim2real.imageio import read_rgb


@dataclass(frozen=True, slots=True)
class Domain:
    """The images of one side: those for training and those held out, by path, and a hash of their names and sizes."""

    side: Side
    train: Sequence[Path]
    held_out: Sequence[Path]
    fingerprint: str


class RawBatch(NamedTuple):
    """A step's images as they travel between processes: uint8 (N, 3, H, W); and the files that could not be read."""

    sim: Tensor
    real: Tensor
    skipped: tuple[str, ...] = ()


def open_domains(config: Config) -> tuple[Domain, Domain]:
    """Find the images of both sides.

    A folder that holds both domains itself (a CycleGAN folder) may stand for both. Where a layout has a test part,
    that part is held out; otherwise ``data.validation`` of the images is, drawn by the seed.

    Raises:
        DatasetError: A side is missing or has too few images.
    """
    if not config.sim:
        raise SettingsError("no images of the simulation: give SIM and REAL, or set sim and real in sim2real.toml")
    data = config.data
    globs: dict[Side, tuple[list[str], list[str]]] = {
        "sim": (data.sim_include, data.sim_exclude),
        "real": (data.real_include, data.real_exclude),
    }
    paths: dict[Side, str] = {"sim": config.sim, "real": config.real or config.sim}
    domains = [_open_domain(config, side, Path(paths[side]), *globs[side]) for side in ("sim", "real")]
    return domains[0], domains[1]


def _open_domain(config: Config, side: Side, root: Path, include: list[str], exclude: list[str]) -> Domain:
    dataset = open_dataset(root)
    every = list(dataset.frames(include=include, exclude=exclude))
    frames = [frame for frame in every if frame.side in (None, _own(side, swap=config.swap))]
    if not config.real and any(frame.side is None for frame in every):
        message = f"{root}: recognised as {dataset.name}, which holds one domain; give the real images too: SIM REAL"
        raise DatasetError(message)
    if config.swap and side == "sim" and all(frame.side is None for frame in every):
        message = f"{root}: {dataset.name} has no two sides to swap; name SIM and REAL the other way round"
        raise DatasetError(message)
    if not frames:
        message = f"{root}: no {side} images" + (f" fit the globs {include} {exclude}" if include or exclude else "")
        raise DatasetError(message)
    train, held_out = _split(frames, config)
    if len(train) < config.data.batch_size:
        message = (
            f"{root}: {len(train)} {side} images to train on ({len(held_out)} held out), but data.batch_size is "
            f"{config.data.batch_size}; add images or lower data.batch_size or data.validation"
        )
        raise DatasetError(message)
    digest = hashlib.sha256()
    for frame in [*train, *held_out]:
        digest.update(f"{frame.image}\0{(root / frame.image).stat().st_size}\n".encode())
    return Domain(
        side, [root / frame.image for frame in train], [root / frame.image for frame in held_out], digest.hexdigest()
    )


def _own(side: Side, *, swap: bool) -> Side:
    """The side by whose name a two-sided folder calls a domain."""
    return ("real" if side == "sim" else "sim") if swap else side


def _split(frames: list[Frame], config: Config) -> tuple[list[Frame], list[Frame]]:
    tests = [frame for frame in frames if frame.split == "test"]
    wanted = config.data.validation
    if not wanted:
        return [frame for frame in frames if frame.split != "test"], []
    if tests and len(tests) < len(frames):
        return [frame for frame in frames if frame.split != "test"], tests
    count = max(1, round(wanted * len(frames))) if wanted < 1 else int(wanted)
    count = min(count, len(frames) - 1)
    drawn = set(np.random.default_rng([config.seed, len(frames)]).permutation(len(frames))[:count].tolist())
    train = [frame for number, frame in enumerate(frames) if number not in drawn]
    return train, [frames[number] for number in sorted(drawn)]


class UnpairedImages(Dataset[RawBatch | DatasetError]):
    """The batches of a training by step number; item ``step`` depends on the seed and the step alone.

    Each side goes through its images in an order of its own, drawn anew each time around, so that nothing pairs the
    two sides and every image of either is reached. A file that cannot be read is replaced by the next one in the
    order, and named in the batch. Where none of a side can be read, the item is the error: raised in a worker process
    it would reach the user as a traceback.

    Args:
        sim: Paths of the simulated images.
        real: Paths of the real ones.
        augment: Brings them to the size of the batch.
        batch_size: Images of each side in a step.
        seed: Decides orders and augmentations.
    """

    def __init__(
        self, sim: Sequence[Path], real: Sequence[Path], augment: Augment, *, batch_size: int, seed: int
    ) -> None:
        self.sides = (sim, real)
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed

    def __getitem__(self, step: int) -> RawBatch | DatasetError:
        skipped: list[str] = []
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        try:
            sim, real = (np.stack([self._image(side, place, skipped) for place in positions]) for side in range(2))
        except DatasetError as error:
            return error
        return RawBatch(channels_first(sim), channels_first(real), tuple(skipped))

    def path(self, side: int, position: int) -> Path:
        """The image at a position of a side's endless order (0: sim, 1: real)."""
        paths = self.sides[side]
        round_, place = divmod(position, len(paths))
        return paths[int(_order(self.seed, side, round_, len(paths))[place])]

    def _image(self, side: int, position: int, skipped: list[str]) -> NDArray[np.uint8]:
        count = len(self.sides[side])
        for attempt in range(position, position + 2 * count):  # the rest of this round and all of the next
            path = self.path(side, attempt)
            try:
                image = read_rgb(path)
            except ImageError as error:
                skipped.append(str(error))
                continue
            seed = int(np.random.SeedSequence([self.seed, side, position]).generate_state(1)[0])
            return self.augment(image, seed=seed)
        message = f"none of {count} {('sim', 'real')[side]} images can be read; the last: {skipped[-1]}"
        raise DatasetError(message)


@lru_cache(maxsize=4)
def _order(seed: int, side: int, round_: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, side, round_]).permutation(count)


def channels_first(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 -> tensor (N, 3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def as_floats(images: Tensor, device: str) -> Tensor:
    """Uint8 (N, 3, H, W) -> float32 in [-1, 1] on a device.

    Contiguous, as the weights are: of one image in channels-last layout PyTorch 2.15 computes the gradient of instance
    normalisation wrongly on the CPU.
    """
    return images.to(device, non_blocking=True).float().div_(127.5).sub_(1)
