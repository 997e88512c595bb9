"""The work of a conversion: threads decode, the calling thread translates, threads encode, others carry files over."""

import hashlib
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sim2real.conversion.inference import Inference
from sim2real.conversion.manifest import Line, ManifestWriter
from sim2real.conversion.plan import Job, Plan, stat_of
from sim2real.datasets.base import Role
from sim2real.errors import ImageError, Sim2RealError
from sim2real.files import replacing, write_whole
from sim2real.imageio import Picture, encode_picture, read_picture

T = TypeVar("T")
R = TypeVar("R")
_CHUNK = 1 << 20


# Told how far long work has come: a stage, the files of it that are done, and all of them; by one thread at a time.
Progress = Callable[[str, int, int], None]


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody wants to hear of."""


@dataclass
class Tally:
    """What was done in one run of the pipeline: files by their status, and bytes that were written."""

    done: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


class _SourceError(Exception):
    """A file of the source that cannot be converted or carried; the others can."""


@dataclass(frozen=True)
class _Decoded:
    job: Job
    sha256: str
    picture: Picture


class Pipeline:
    """Converts and carries the files of a plan, each whole or not at all, and notes them in the manifest.

    Args:
        plan: What is to be done.
        inference: Translates.
        manifest: Open for writing.
        workers: Threads that decode and encode, and as many that carry.
        keep_going: Go on after a file that cannot be converted or carried.
        progress: Told of the stages ``"converting"`` and ``"carrying"``.
    """

    def __init__(
        self,
        plan: Plan,
        inference: Inference,
        manifest: ManifestWriter,
        *,
        workers: int,
        keep_going: bool,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._inference = inference
        self._manifest = manifest
        self._workers = workers
        self._keep_going = keep_going
        self._progress = progress
        self._batch_size = plan.record.batch_size
        self._window = 2 * self._batch_size + workers  # pictures that wait before and after the engine
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tally = Tally()
        self._told = Counter[str]()
        frames = sum(job.translate for job in plan.todo)
        self._totals = {"converting": frames, "carrying": len(plan.todo) - frames}

    def run(self) -> Tally:
        """Do it all.

        Raises:
            Sim2RealError: A file cannot be converted or carried, and the pipeline was not told to keep going.
            OSError: Something cannot be written.
        """
        frames = [job for job in self._plan.todo if job.translate]
        others = iter([job for job in self._plan.todo if not job.translate])
        codecs = ThreadPoolExecutor(self._workers, "codec")
        carriers = ThreadPoolExecutor(self._workers, "carry")
        try:
            carrying = [carriers.submit(self._carry_all, others) for _ in range(self._workers)]
            self._translate_all(frames, codecs)
            for future in carrying:
                future.result()
        finally:  # whatever ends the work, what is in hand is finished and noted
            self._stop.set()
            codecs.shutdown(cancel_futures=True)
            carriers.shutdown(cancel_futures=True)
        return self._tally

    def _translate_all(self, frames: list[Job], codecs: ThreadPoolExecutor) -> None:
        decoded = ahead(codecs, self._decode, frames, self._window)
        writing: deque[Future[None]] = deque()
        for batch in self._batches(picture for picture in decoded if picture is not None):
            if self._stop.is_set():
                return
            missing = self._batch_size - len(batch)
            images = np.stack([item.picture.rgb for item in (*batch, *batch[-1:] * missing)])  # always the same shape
            translated, notes = self._inference(images)
            for item, rgb in zip(batch, translated, strict=False):
                writing.append(codecs.submit(self._write, item, rgb, notes))
            while len(writing) > self._window:
                writing.popleft().result()
        for future in writing:
            future.result()

    def _batches(self, pictures: Iterable[_Decoded]) -> Iterator[list[_Decoded]]:
        """Groups of one size of picture, in order; those that wait for company are never more than a few batches."""
        waiting: dict[tuple[int, ...], list[_Decoded]] = {}
        for picture in pictures:
            group = waiting.setdefault(picture.picture.rgb.shape, [])
            group.append(picture)
            if len(group) == self._batch_size:
                yield waiting.pop(picture.picture.rgb.shape)
            elif sum(map(len, waiting.values())) > 2 * self._batch_size:
                yield waiting.pop(next(iter(waiting)))
        yield from waiting.values()

    def _decode(self, job: Job) -> _Decoded | None:
        source = self._plan.source / job.path
        try:
            with _unchanged(job, source):
                return _Decoded(job, _digest(source), read_picture(source))
        except (_SourceError, ImageError) as error:
            self._fail(job, error)
            return None

    def _write(self, decoded: _Decoded, rgb: NDArray[np.uint8], notes: tuple[str, ...]) -> None:
        job, picture = decoded.job, decoded.picture
        try:
            data = encode_picture(rgb, picture, quality=self._plan.record.quality)
        except ImageError as error:
            self._fail(job, error)
            return
        write_whole(self._target(job), data)
        digest = hashlib.sha256(data).hexdigest()
        height, width = rgb.shape[:2]
        self._done(job, decoded.sha256, digest, len(data), width=width, height=height, notes=picture.notes + notes)

    def _carry_all(self, jobs: Iterator[Job]) -> None:
        """Carry files until none is left; several threads take from one iterator."""
        try:
            for job in jobs:
                if self._stop.is_set():
                    return
                self._carry(job)
        except BaseException:
            self._stop.set()
            raise

    def _carry(self, job: Job) -> None:
        source, target = self._plan.source / job.path, self._target(job)
        mode = "copy" if job.role is Role.IMAGE else self._plan.record.carry  # tools repair images in place
        try:
            with replacing(target) as temporary, _unchanged(job, source):
                digest = _CARRY[mode](source, temporary)
        except _SourceError as error:
            self._fail(job, error)
            return
        self._done(job, digest, digest, job.size)

    def _target(self, job: Job) -> Path:
        target = self._plan.out / job.path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _done(
        self,
        job: Job,
        source_sha256: str,
        sha256: str,
        size: int,
        *,
        width: int | None = None,
        height: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        line = Line(
            path=job.path,
            role=job.role,
            status=job.aim,
            source_size=job.size,
            source_mtime_ns=job.mtime_ns,
            source_sha256=source_sha256,
            size=size,
            sha256=sha256,
            width=width,
            height=height,
            notes=notes,
        )
        with self._lock:
            self._manifest.add(line)
            self._tally.done[job.aim] += 1
            self._tally.bytes += size
            self._tally.notes.update(notes)
            self._tell(job)

    def _fail(self, job: Job, error: Exception) -> None:
        reason = str(error).removeprefix(f"{self._plan.source / job.path}: ")
        with self._lock:
            self._manifest.add(Line(path=job.path, role=job.role, status="failed", reason=reason))
            self._tally.failed.append((job.path, reason))
            self._tell(job)
        if not self._keep_going:
            message = (
                f"{self._plan.source / job.path}: {reason}; what is finished is kept: mend the file and run the same "
                "command again, --exclude it, or convert the others with --keep-going"
            )
            raise Sim2RealError(message)

    def _tell(self, job: Job) -> None:
        stage = "converting" if job.translate else "carrying"
        self._told[stage] += 1
        self._progress(stage, self._told[stage], self._totals[stage])


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], window: int) -> Iterator[R]:
    """Results in order of the items, computed in a pool while earlier ones are used, at most ``window`` of them."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _unchanged(job: Job, source: Path) -> Iterator[None]:
    """Read a source file that must be there and be the same, before and after, as when the plan was made."""
    if job.stat is None:
        raise _SourceError("is no file that can be read (a link to nowhere?)")
    yield
    if stat_of(source) != job.stat:
        raise _SourceError("changed during the conversion")


def _chunks(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise _SourceError(message) from error


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(source):
        digest.update(chunk)
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for chunk in _chunks(source):
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    shutil.copystat(source, target)
    return digest.hexdigest()


def _hardlink(source: Path, target: Path) -> str:
    digest = _digest(source)
    try:
        target.hardlink_to(source.resolve())
    except OSError as error:
        message = f"{source}: cannot be hard-linked to {target.parent} ({error.strerror}); use --carry copy or symlink"
        raise Sim2RealError(message) from error
    return digest


def _symlink(source: Path, target: Path) -> str:
    digest = _digest(source)
    target.symlink_to(source.resolve())
    return digest


_CARRY = {"copy": _copy, "hardlink": _hardlink, "symlink": _symlink}
