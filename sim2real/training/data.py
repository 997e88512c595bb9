"""Unpaired images: what is trained on, what is held out, and which images make up which step."""

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sim2real.augment import Augment
from sim2real.config import Config
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.sources import Source, one_domain, open_folder, open_sources
from sim2real.datasets.video import Drawing, Drawn, Report
from sim2real.devices import kind_of
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.files import write_whole
from sim2real.imageio import read_scaled
from sim2real.orphans import end_with_parent

_AHEAD = 4  # batches that each worker makes ahead of time
_LEFT_FREE = 2**31  # bytes of the disk that a cache leaves to checkpoints and to others
Stamp = tuple[int, int]


def stamp_of(path: Path) -> Stamp:
    """Size in bytes and time of the last change in ns; a file that keeps both is taken for unchanged."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class Origin(NamedTuple):
    """A place that images of a side are from.

    Attributes:
        path: A folder or a video.
        layout: Registered name of the folder's layout, or ``"video"``.
        images: How many of the side are from there.
        drawn: What was drawn from each video.
        notes: What is to be known of it, a line each.
    """

    path: Path
    layout: str
    images: int
    drawn: tuple[Drawn, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """The images of one side.

    Attributes:
        side: Which side.
        train: Those for training.
        held_out: Those that are never trained on.
        fingerprint: A hash of their names and sizes.
        stamps: What ``train`` looked like when it was listed, see :func:`stamp_of`; without them no change is noticed.
        origins: Where they are from.
    """

    side: Side
    train: Sequence[Path]
    held_out: Sequence[Path]
    fingerprint: str
    stamps: Sequence[Stamp] = ()
    origins: Sequence[Origin] = ()


class RawBatch(NamedTuple):
    """A step's images as they travel between processes, and what befell on the way.

    Attributes:
        sim: Simulated images, uint8 (N, 3, H, W).
        real: Real ones, likewise.
        skipped: A line for each file that could not be read.
        changed: Paths of files that are not what they were when the run began; what they are now is trained on.
        notes: Other lines that the user should see.
    """

    sim: Tensor
    real: Tensor
    skipped: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_domains(
    config: Config, drawn: Path | None = None, progress: Report = lambda *_: None
) -> tuple[Domain, Domain]:
    """Find the images of both sides, and draw those that are frames of videos.

    A folder that holds both domains itself (a CycleGAN folder) may stand for both. Where a folder's layout has a test
    part, that part is held out; of all other images of a side ``data.validation`` is, drawn by the seed.

    Args:
        config: All settings.
        drawn: Folder for the frames of videos; what it holds already is not drawn again. None: ``frames`` in the run
            folder.
        progress: Told how the drawing goes.

    Raises:
        DatasetError: A side is missing or has too few images, or a video cannot be decoded.
    """
    data = config.data
    simulated = open_folder(config.sim_place, data.sim_include, data.sim_exclude, data.sim_as_image)
    sim = _open_domain(config, "sim", [simulated])
    if config.real:
        real = open_sources(
            config.real_places,
            drawn or config.run_folder / "frames",
            include=data.real_include,
            exclude=data.real_exclude,
            as_image=data.real_as_image,
            drawing=Drawing.of(data),
            progress=progress,
        )
    else:
        real = [open_folder(Path(config.sim), data.real_include, data.real_exclude, data.real_as_image)]
    return sim, _open_domain(config, "real", real)


def _open_domain(config: Config, side: Side, sources: Sequence[Source]) -> Domain:
    parts = [_frames_of(source, config, side) for source in sources]
    frames = [frame for part in parts for frame in part]
    held_out = _draw_held_out(parts, config)
    train = [number for number, frame in enumerate(frames) if number not in held_out]
    if not config.data.validation:
        train = [number for number in train if frames[number].split != "test"]
    if len(train) < config.data.batch_size:
        message = (
            f"{', '.join(str(source.path) for source in sources)}: {len(train)} {side} images to train on "
            f"({len(held_out)} held out), but data.batch_size is {config.data.batch_size}; add images or lower "
            "data.batch_size or data.validation"
        )
        raise DatasetError(message)
    order = [*train, *sorted(held_out)]
    paths = [frames[number].path for number in order]
    stamps = [stamp_of(path) for path in paths]
    names = [frame.image for frame in frames]
    if len(sources) > 1:
        names = [f"{number}/{frame.image}" for number, part in enumerate(parts) for frame in part]
    digest = sha256()
    for number, (size, _) in zip(order, stamps, strict=True):
        digest.update(f"{names[number]}\0{size}\n".encode())
    origins = [
        Origin(source.path, source.layout, len(part), source.drawn, source.notes)
        for source, part in zip(sources, parts, strict=True)
    ]
    count = len(train)
    return Domain(side, paths[:count], paths[count:], digest.hexdigest(), stamps[:count], origins)


def _frames_of(source: Source, config: Config, side: Side) -> list[Frame]:
    """The images of a side in one of its places."""
    frames = [frame for frame in source.frames if frame.side in (None, _own(side, swap=config.swap))]
    if not config.real and any(frame.side is None for frame in source.frames):
        raise one_domain(source.path, source.layout)
    if config.swap and side == "sim" and all(frame.side is None for frame in source.frames):
        message = f"{source.path}: {source.layout} has no two sides to swap; name SIM and REAL the other way round"
        raise DatasetError(message)
    if not frames:
        data = config.data
        globs = (data.sim_include, data.sim_exclude) if side == "sim" else (data.real_include, data.real_exclude)
        fit = f" fit the globs {globs[0]} {globs[1]}" if any(globs) else ""
        raise DatasetError(f"{source.path}: no {side} images{fit}")
    return frames


def _own(side: Side, *, swap: bool) -> Side:
    """The side by whose name a two-sided folder calls a domain."""
    return ("real" if side == "sim" else "sim") if swap else side


def _draw_held_out(parts: Sequence[Sequence[Frame]], config: Config) -> set[int]:
    """The numbers of the images, counted through all places, that are never trained on."""
    wanted, first = config.data.validation, 0
    held_out, pool = set[int](), list[int]()
    for part in parts:
        tests = {first + number for number, frame in enumerate(part) if frame.split == "test"}
        if 0 < len(tests) < len(part):
            held_out |= tests
        else:
            pool += range(first, first + len(part))
        first += len(part)
    if not wanted:
        return set()
    if pool:
        count = max(1, round(wanted * len(pool))) if wanted < 1 else int(wanted)
        count = min(count, len(pool) - 1)
        drawn = np.random.default_rng([config.seed, len(pool)]).permutation(len(pool))[:count]
        held_out.update(pool[number] for number in drawn.tolist())
    return held_out


class UnpairedImages(Dataset[RawBatch | DatasetError]):
    """The batches of a training by step number; item ``step`` depends on the seed and the step alone.

    Each side goes through its images in an order of its own, drawn anew each time around, so that nothing pairs the
    two sides and every image of either is reached. A file that cannot be read is replaced by the next one in the
    order, and named in the batch. Where none of a side can be read, the item is the error: raised in a worker process
    it would reach the user as a traceback.

    Args:
        sim: The simulated images; of mere paths it is not known whether they change.
        real: The real ones, likewise.
        augment: Brings them to the size of the batch.
        batch_size: Images of each side in a step, over all processes of the training.
        seed: Decides orders and augmentations.
        rank: Which of the processes this is; its items are its part of each step's images.
        processes: How many there are; together they see exactly what one alone would.
        cache: Folder that keeps decoded and scaled images for all processes, see :func:`remove_cache`; None: none are.

    Raises:
        ValueError: The processes cannot share a batch equally.
    """

    def __init__(
        self,
        sim: Domain | Sequence[Path],
        real: Domain | Sequence[Path],
        augment: Augment,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        cache: Path | None = None,
    ) -> None:
        if batch_size % processes:
            message = f"{processes} processes cannot share batches of {batch_size}"
            raise ValueError(message)
        self.sides = (_as_domain("sim", sim), _as_domain("real", real))
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.cache = _Cache(cache, str((augment.size, augment.fit, augment.load_size))) if cache else None

    def __getitem__(self, step: int) -> RawBatch | DatasetError:
        part = self.batch_size // self.processes
        begin = step * self.batch_size + self.rank * part
        width, height = self.augment.size
        remarks = _Remarks()
        sim, real = (torch.empty(part, 3, height, width, dtype=torch.uint8) for _ in self.sides)
        try:
            for side, images in enumerate((sim.numpy(), real.numpy())):
                for place, planes in enumerate(images):
                    cv2.split(self._image(side, begin + place, remarks), list(planes))
        except DatasetError as error:
            return error
        return RawBatch(sim, real, tuple(remarks.skipped), tuple(remarks.changed), tuple(remarks.notes))

    def path(self, side: int, position: int) -> Path:
        """The image at a position of a side's endless order (0: sim, 1: real)."""
        return self.sides[side].train[self._number(side, position)]

    def _number(self, side: int, position: int) -> int:
        count = len(self.sides[side].train)
        round_, place = divmod(position, count)
        return int(_order(self.seed, side, round_, count)[place])

    def _image(self, side: int, position: int, remarks: "_Remarks") -> NDArray[np.uint8]:
        count = len(self.sides[side].train)
        for attempt in range(position, position + 2 * count):  # the rest of this round and all of the next
            try:
                scaled = self._scaled(side, self._number(side, attempt), remarks)
            except ImageError as error:
                remarks.skipped.append(str(error))
                continue
            seed = int(np.random.SeedSequence([self.seed, side, position]).generate_state(1)[0])
            return self.augment.cut(scaled, seed=seed)
        message = f"none of {count} {('sim', 'real')[side]} images can be read; the last: {remarks.skipped[-1]}"
        raise DatasetError(message)

    def _scaled(self, side: int, number: int, remarks: "_Remarks") -> NDArray[np.uint8]:
        domain = self.sides[side]
        path = domain.train[number]
        try:
            stamp = stamp_of(path)
        except OSError:  # what is wrong is said by who reads it
            return read_scaled(path, self.augment.scaled_size)
        if domain.stamps and stamp != domain.stamps[number]:
            remarks.changed.append(str(path))
        if self.cache is None:
            return read_scaled(path, self.augment.scaled_size)
        return self.cache.get(path, stamp, lambda: read_scaled(path, self.augment.scaled_size), remarks.notes)


def _as_domain(side: Side, images: Domain | Sequence[Path]) -> Domain:
    return images if isinstance(images, Domain) else Domain(side, images, held_out=(), fingerprint="")


@dataclass(slots=True)
class _Remarks:
    """What a batch tells besides its images, see :class:`RawBatch`."""

    skipped: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Cache:
    """Decoded and scaled images as .npy files, each there whole or not at all; processes share the folder.

    Args:
        folder: Where they are.
        scaling: What else than the file decides the pixels.
    """

    def __init__(self, folder: Path, scaling: str) -> None:
        self.folder = folder
        self.scaling = scaling
        self.is_full = False

    def get(
        self, path: Path, stamp: Stamp, decode: Callable[[], NDArray[np.uint8]], notes: list[str]
    ) -> NDArray[np.uint8]:
        """The image of a file with this stamp; a kept one is mapped into memory, so that a crop reads only its rows."""
        key = sha256(f"{path}\0{stamp}\0{self.scaling}".encode("utf-8", "surrogateescape")).hexdigest()
        file = self.folder / f"{key}.npy"
        try:
            return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError):  # not there yet, or damaged when the machine went down
            image = decode()
        if not self.is_full:
            try:
                self._keep(file, image)
            except OSError as error:
                self.is_full = True
                notes.append(f"data.cache: no more images are kept: {self.folder}: {error.strerror}")
        return image

    def _keep(self, file: Path, image: NDArray[np.uint8]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < image.nbytes + _LEFT_FREE:
            raise OSError(errno.ENOSPC, f"less than {_LEFT_FREE >> 30} GiB would be left of the disk")
        encoded = io.BytesIO()
        np.save(encoded, image)
        write_whole(file, encoded.getvalue())


def remove_cache(folder: Path) -> None:
    """Remove what :class:`UnpairedImages` kept there, once no process of the training reads it any more."""
    shutil.rmtree(folder, ignore_errors=True)  # what another system still holds open does no harm


def build_loader(
    images: UnpairedImages, steps: range, workers: int, device: str, seed: int
) -> Iterator[RawBatch | DatasetError]:
    """Items ``steps`` of ``images`` in order, made ahead of time by worker processes.

    Args:
        images: What to load.
        steps: Numbers of the items.
        workers: Processes that decode; never more than the machine has cores; 0 decodes in this one.
        device: Where the batches will go; they are pinned for one of CUDA.
        seed: Of the loader itself, which would else draw from torch's global random state.

    Yields:
        Batches; each changed file and each note is told by one of them. An error means that nothing more comes.

    Raises:
        Sim2RealError: A worker process died; see :func:`naming_dead_workers`.
    """
    loader = DataLoader(
        images,
        batch_size=None,
        sampler=steps,
        num_workers=min(workers, os.cpu_count() or 1),
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_begin_worker,
        pin_memory=kind_of(device) == "cuda",
        generator=torch.Generator().manual_seed(seed),
    )
    told: set[str] = set()
    with naming_dead_workers():
        for raw in loader:
            if isinstance(raw, DatasetError):
                yield raw
                return
            yield raw._replace(
                changed=tuple(path for path in raw.changed if path not in told),
                notes=tuple(note for note in raw.notes if note not in told),
            )
            told.update(raw.changed, raw.notes)


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Tell of a killed worker process in one line; torch raises it wherever the main thread happens to be.

    Raises:
        Sim2RealError: A process that decodes died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        message = "a process that decodes images was killed, as when memory or /dev/shm is full; lower data.workers"
        raise Sim2RealError(message) from error


def _begin_worker(_worker: int) -> None:
    """In a worker process: signals are the loop's, which still needs its batches; one core is the worker's."""
    end_with_parent()  # torch's own looks every five seconds, too late for who goes on at once
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # Ctrl-C reaches the whole process group; Windows lacks the last
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    cv2.setNumThreads(0)  # all in this thread; 1 would wait for ever for threads that a fork does not bring along


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
    return images.to(device, non_blocking=kind_of(device) == "cuda").float().div_(127.5).sub_(1)
