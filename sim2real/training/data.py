"""Unpaired images for training: the images and labels of each step, loaded by worker processes."""

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
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
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.inputs import LEADS_TO, Values, cut_input, scaled_input, unknown_motion
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.devices import kind_of
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.files import write_whole
from sim2real.imageio import Box, Cutting, read_scaled
from sim2real.methods.base import Batch
from sim2real.orphans import end_with_parent
from sim2real.training.domains import Domain, stamp_of
from sim2real.training.matching import Corner, matched_corners
from sim2real.training.specs import PLAIN, DataSpec, followers

_BOTH = 2  # key of the seeds that both sides share; 0 and 1 are those of the single sides
_AHEAD = 4  # batches that each worker makes ahead of time
SKIPPED = "skipped: "
_LARGE = 1_000_000  # pixels from which it is worth 0.4 ms to know which rows need not be decoded
_LEFT_FREE = 2**31  # bytes of the disk that the cache leaves free, e.g. for checkpoints


class RawBatch(NamedTuple):
    """The images of a step as they are passed between processes, with notes on problems.

    Attributes:
        sim: Simulated images, uint8 (N, 3, H, W); for clips (N, T, 3, H, W).
        real: Real images, in the same form.
        sim_inputs: Labels of the simulated images, kind -> (N, ...) or (N, T, ...).
        real_inputs: Labels of the real images, in the same form.
        notes: Lines for the user: ``SKIPPED`` and the reason for each file that could not be read; files that have
            changed since the run started, whose new contents are trained on; and others.
    """

    sim: Tensor
    real: Tensor
    sim_inputs: Mapping[str, Tensor] = {}
    real_inputs: Mapping[str, Tensor] = {}
    notes: tuple[str, ...] = ()


class _Frames(NamedTuple):
    """An image, or the frames of a clip, each (H, W, 3) of one size; and their labels by kind, one for each frame."""

    images: list[NDArray[np.uint8]]
    labels: dict[str, list[Values]]

    @property
    def size(self) -> tuple[int, int]:
        """The size (W, H)."""
        height, width = self.images[0].shape[:2]
        return width, height

    def window(self, corner: Corner, size: tuple[int, int]) -> "_Frames":
        """Return a window of the size (W, H) of all frames and labels."""
        rows, columns = slice(corner.top, corner.top + size[1]), slice(corner.left, corner.left + size[0])
        labels = {kind: [values[..., rows, columns] for values in each] for kind, each in self.labels.items()}
        return _Frames([image[rows, columns] for image in self.images], labels)


class UnpairedImages(Dataset[RawBatch | DatasetError]):
    """The batches of a training by step number; item ``step`` depends on the seed and the step alone.

    Each side goes through its images in its own random order, which is shuffled again in each round, so that the sides
    are not paired and every image is reached. A file that cannot be read is replaced by the next one in the order, and
    named in the batch. If no image of a side can be read, the item is the error itself: raised in a worker process, it
    would reach the user as a traceback.

    If windows are matched, both windows of a pair are sampled with one seed, and both are mirrored or neither, see
    :mod:`sim2real.training.matching`.

    Labels are scaled, cut and mirrored like their images, and all frames of a clip alike.

    Args:
        sim: The simulated images; changed files are noticed only in a ``Domain``, not if plain paths are given.
        real: The real images, in the same form.
        augment: Brings the images to the size of the batch.
        batch_size: Number of images of each side in a step, over all processes of the training.
        seed: Seed of the orders and augmentations.
        rank: Number of this process; its items are its part of each step's images.
        processes: Number of processes; together they see exactly the images that one process would see.
        cache: Folder for decoded and scaled images of all processes, see :func:`remove_cache`; None for no cache.
        spec: The labels and clips that the training needs.
        vocabulary: The classes of the run.

    Raises:
        ValueError: If the processes cannot share a batch equally.
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
        spec: DataSpec = PLAIN,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        if batch_size % processes:
            message = f"{processes} processes cannot share batches of {batch_size}"
            raise ValueError(message)
        self.sides = (_as_domain("sim", sim), _as_domain("real", real))
        self.specs = (spec.sim, spec.real)
        self.matched = spec.matched
        self.clips = [
            followers(domain.train, of_side.clip_length) if of_side.clip_length > 1 else None
            for domain, of_side in zip(self.sides, self.specs, strict=True)
        ]
        self.starts = [
            list(clips) if clips else range(len(side.train)) for clips, side in zip(self.clips, self.sides, strict=True)
        ]
        self.vocabulary = vocabulary or Vocabulary(())
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.cache = _Cache(cache, str((augment.size, augment.fit, augment.load_size))) if cache else None

    def __getitem__(self, step: int) -> RawBatch | DatasetError:
        part = self.batch_size // self.processes
        begin = step * self.batch_size + self.rank * part
        notes: list[str] = []
        try:
            shown = self._shown(range(begin, begin + part), notes)
            (sim, sims), (real, reals) = (self._stacked(side, part, windows) for side, windows in enumerate(shown))
        except DatasetError as error:
            return error
        return RawBatch(sim, real, sims, reals, tuple(notes))

    def path(self, side: int, position: int) -> Path:
        """Return the image, or the first of a clip, at a position of a side's endless order (0: sim, 1: real)."""
        return self.sides[side].train[self._number(side, position)].path

    def _number(self, side: int, position: int) -> int:
        count = len(self.starts[side])
        round_, place = divmod(position, count)
        return self.starts[side][int(_order(self.seed, side, round_, count)[place])]

    def _shown(self, positions: range, notes: list[str]) -> Iterable[Iterable[_Frames]]:
        """Return the windows of each side at some positions of its order."""
        if self.matched:
            return zip(*[self._pair(position, notes) for position in positions], strict=True)
        return ((self._window(side, position, notes) for position in positions) for side in (0, 1))

    def _stacked(self, side: int, count: int, windows: Iterable[_Frames]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ``count`` windows of a side as tensors: images, and labels by kind."""
        width, height = self.augment.size
        length = self.specs[side].clip_length
        images = torch.empty(count, length, 3, height, width, dtype=torch.uint8)
        rows: list[dict[str, list[Values]]] = []
        for (shown, labels), frames in zip(windows, images.numpy(), strict=True):
            for image, planes in zip(shown, frames, strict=True):
                cv2.split(image, list(planes))
            rows.append(labels)
        inputs = {
            kind: torch.from_numpy(np.stack([np.stack(row[kind]) for row in rows])) for kind in self.specs[side].kinds
        }
        if length == 1:
            return images[:, 0], {kind: values[:, 0] for kind, values in inputs.items()}
        return images, inputs

    def _window(self, side: int, position: int, notes: list[str]) -> _Frames:
        """Return the window of a side at a position, sampled independently of the other side."""
        seed = self._seed(side, position)
        return self._cut(self._read(side, position, notes, seed), seed=seed)

    def _pair(self, position: int, notes: list[str]) -> list[_Frames]:
        """Return the windows of both sides at a position: matched, and both mirrored or neither."""
        sim, real = (self._read(side, position, notes) for side in (0, 1))
        seed, masks = self._seed(_BOTH, position), [each.labels.get("segmentation") for each in (sim, real)]
        corners = matched_corners(
            (sim.size, real.size),
            self.augment.size,
            np.random.default_rng(seed),
            (masks[0][0], masks[1][0]) if masks[0] and masks[1] else None,
        )
        windows = (each.window(corner, self.augment.size) for each, corner in zip((sim, real), corners, strict=True))
        return [self._cut(each, seed=seed) for each in windows]

    def _window_of(self, width: int, height: int, *, seed: int) -> Box:
        return (0, 0, width, height) if width * height < _LARGE else self.augment.window(width, height, seed=seed)

    def _seed(self, side: int, position: int) -> int:
        return int(np.random.SeedSequence([self.seed, side, position]).generate_state(1)[0])

    def _cut(self, frames: _Frames, *, seed: int) -> _Frames:
        """Return an augmented window of frames of one size and of their labels, decided by the seed."""
        images, labels = frames
        if labels:
            places = self.augment.places(*frames.size, seed=seed)
            labels = {kind: [cut_input(values, kind, *places) for values in each] for kind, each in labels.items()}
        return _Frames([self.augment.cut(image, seed=seed) for image in images], labels)

    def _read(self, side: int, position: int, notes: list[str], seed: int | None = None) -> _Frames:
        """Return the scaled image, or the frames of a clip, at a position, with labels.

        With a seed, of a large single image without labels no more is decoded than :meth:`_cut` cuts with this seed.
        """
        count = len(self.starts[side])
        window: Cutting | None = None
        if seed is not None and not (self.cache or self.clips[side] or self.specs[side].kinds):
            window = partial(self._window_of, seed=seed)
        for attempt in range(position, position + 2 * count):  # the rest of this round and all of the next
            first = self._number(side, attempt)
            clips = self.clips[side]
            numbers = clips[first] if clips else [first]
            try:
                scaled = [self._scaled(side, number, notes, window) for number in numbers]
                labels = {
                    kind: [self._label(side, *each, kind, notes) for each in zip(numbers, scaled, strict=True)]
                    for kind in self.specs[side].kinds
                }
                if len({image.shape for image in scaled}) == 1:
                    return _Frames(scaled, labels)
                reason = f"{self.sides[side].train[first].path}: the next frames of its clip have other sizes"
            except (ImageError, DatasetError) as error:
                reason = str(error)
            notes.append(f"{SKIPPED}{reason}")
        raise DatasetError(
            f"none of {count} {('sim', 'real')[side]} images can be read; the last: {reason}", topic="damaged-images"
        )

    def _scaled(self, side: int, number: int, notes: list[str], window: Cutting | None) -> NDArray[np.uint8]:
        domain = self.sides[side]
        path = domain.train[number].path

        def read() -> NDArray[np.uint8]:
            return read_scaled(path, self.augment.scaled_size, window)

        try:
            stamp = stamp_of(path)
        except OSError:  # reading it raises an error that says what is wrong
            return read()
        if domain.stamps and stamp != domain.stamps[number]:
            notes.append(f"changed since the training started: {path}")
        return self.cache.get(str(path), stamp, read, notes) if self.cache else read()

    def _label(self, side: int, number: int, scaled: NDArray[np.uint8], kind: str, notes: list[str]) -> Values:
        """Return a label of a frame, scaled to the pixels of its scaled image (H, W, 3)."""
        frame = self.sides[side].train[number]
        if kind in LEADS_TO and kind not in frame.labels:
            return unknown_motion(kind, (scaled.shape[1], scaled.shape[0]))

        def read() -> Values:
            return scaled_input(frame, kind, self.vocabulary, self.augment.scaled_size, notes.append)

        if self.cache is None or not (frame.dataset and frame.labels.get(kind)):
            return read()
        try:
            stamp = stamp_of(frame.dataset.root / frame.labels[kind])
        except OSError:
            return read()
        key = f"{frame.path}\0{kind}\0{self.vocabulary.names}"
        return self.cache.get(key, (*stamp, *stamp_of(frame.path)), read, notes)


def _as_domain(side: Side, images: Domain | Sequence[Path]) -> Domain:
    if isinstance(images, Domain):
        return images
    return Domain(side, [Frame(str(path)) for path in images], held_out=(), fingerprint="")


class _Cache:
    """Decoded and scaled images and labels as .npy files, each written as a whole; processes share the folder.

    Args:
        folder: The folder of the files.
        scaling: Text that identifies the scaling, part of each file's key.
    """

    def __init__(self, folder: Path, scaling: str) -> None:
        self.folder = folder
        self.scaling = scaling
        self.is_full = False

    def get(self, name: str, stamp: tuple[int, ...], decode: Callable[[], Values], notes: list[str]) -> Values:
        """Return the values for a stamp; cached ones are memory-mapped, so that a crop reads only its rows."""
        key = sha256(f"{name}\0{stamp}\0{self.scaling}".encode("utf-8", "surrogateescape")).hexdigest()
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
                notes.append(f"data.cache: no more images are cached: {self.folder}: {error.strerror}")
        return image

    def _keep(self, file: Path, image: Values) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < image.nbytes + _LEFT_FREE:
            raise OSError(errno.ENOSPC, f"less than {_LEFT_FREE >> 30} GiB would be left on the disk")
        encoded = io.BytesIO()
        np.save(encoded, image)
        write_whole(file, encoded.getvalue())


def remove_cache(folder: Path) -> None:
    """Remove the cache of :class:`UnpairedImages`, once no process of the training reads it any more."""
    shutil.rmtree(folder, ignore_errors=True)  # files that another machine still holds open do no harm


def build_loader(
    images: UnpairedImages, steps: range, workers: int, device: str, seed: int
) -> Iterator[RawBatch | DatasetError]:
    """Yield the items ``steps`` of ``images`` in order, made ahead of time by worker processes.

    Args:
        images: The images to load.
        steps: Numbers of the items.
        workers: Number of processes that decode, limited to the number of cores; 0 decodes in this process.
        device: Device of the batches; for CUDA they are pinned.
        seed: Seed of the loader itself, which would otherwise use torch's global random state.

    Yields:
        Batches; each note is in one of them only. An error is the last item.

    Raises:
        Sim2RealError: If a worker process died, see :func:`worker_errors`.
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
    reported: set[str] = set()
    with worker_errors():
        for raw in loader:
            if isinstance(raw, DatasetError):
                yield raw
                return
            yield raw._replace(notes=tuple(note for note in raw.notes if note not in reported))
            reported.update(raw.notes)


@contextmanager
def worker_errors() -> Iterator[None]:
    """Report a killed worker process in one line; torch raises its error anywhere in the main thread.

    Raises:
        Sim2RealError: If a worker process died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        message = "a process that decodes images was killed; if memory or /dev/shm was full, lower data.workers"
        raise Sim2RealError(message, topic="speed-and-memory") from error


def _begin_worker(_worker: int) -> None:
    """Set up a worker process: ignore signals, as the training loop still needs batches, and use one thread."""
    end_with_parent()  # torch checks only every five seconds, too late for an immediate restart
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # Ctrl-C reaches the whole process group; Windows lacks the last
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    cv2.setNumThreads(0)  # run in this thread; 1 would wait for ever for threads that a fork does not inherit


@lru_cache(maxsize=4)
def _order(seed: int, side: int, round_: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, side, round_]).permutation(count)


def channels_first(images: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 images (N, H, W, 3) to a uint8 tensor (N, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def as_floats(images: Tensor, device: str) -> Tensor:
    """Convert uint8 images (N, 3, H, W) to float32 in [-1, 1] on a device.

    The result is contiguous, as the weights are: for a single image in channels-last layout, PyTorch 2.15 computes a
    wrong gradient of instance normalisation on the CPU.
    """
    return images.to(device, non_blocking=kind_of(device) == "cuda").float().div_(127.5).sub_(1)


def as_batch(raw: RawBatch, device: str) -> Batch:
    """Return the images and labels of a step on a device."""
    moves = kind_of(device) == "cuda"
    sims, reals = (
        {kind: values.to(device, non_blocking=moves) for kind, values in inputs.items()}
        for inputs in (raw.sim_inputs, raw.real_inputs)
    )
    return Batch(as_floats(raw.sim, device), as_floats(raw.real, device), sims, reals)
