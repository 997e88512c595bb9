"""The work of a conversion: groups of threads decode and encode, translate, and carry files.

At most ``_PIXELS`` pixels, or one batch with more, are in progress between the source and the disk at a time. Each
takes 9 bytes (decoded, in the batch, translated), in addition to the working memory of the engine and the codecs, so
memory depends neither on the number of frames nor on their size. Labels that the generator sees are counted with their
size. A batch of a sequence waits for the previous batch of that sequence.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np

from sim2real.conversion.batches import Batch, Sequence, batches_of
from sim2real.conversion.carry import SourceError, carry
from sim2real.conversion.decoding import (
    CHANGED,
    Decoded,
    decode,
    images_of,
    inputs_of,
    read,
    resized,
    runs,
    unchanged,
)
from sim2real.conversion.gate import Gate, GateOutcome, parse_gate
from sim2real.conversion.inputs import InputReader
from sim2real.conversion.jobs import Job, seed_of
from sim2real.conversion.looks import with_look
from sim2real.conversion.manifest import Line, ManifestWriter, quarantine_path
from sim2real.conversion.meters import Meters
from sim2real.conversion.plan import Plan
from sim2real.conversion.resized_files import DamageError
from sim2real.conversion.windows import Window
from sim2real.datasets.base import Labels
from sim2real.datasets.inputs import KINDS
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.files import replacing, write_whole
from sim2real.imageio import Picture, encode_picture
from sim2real.inside import inside
from sim2real.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim2real.conversion.inference import Inference
    from sim2real.imageio.nvjpeg import JpegCodecs

P = ParamSpec("P")
R = TypeVar("R")
_BYTES = 9  # per pixel in progress
_PIXELS = 64_000_000  # 137 frames of KITTI, 7 of 4K: 0.6 GB
_NOT_BY_GPU: Final = {name: f"the GPU could not {name} the JPEG: a CPU did" for name in ("decode", "encode")}


@dataclass
class Tally:
    """The results of one run of the pipeline.

    Attributes:
        done: Number of files by status.
        bytes: Bytes written; links count as none.
        failed: Path and reason of each failed file.
        rejected: Translations that the gate rejected: substitute -> number of images.
        notes: Number of images for each note of the manifest.
        on_gpu: Number of JPEG files that a GPU has ``"decoded"`` and ``"encoded"``.
        busy: Share of the time in which the threads of each image stage were busy, 0 to 1.
        limit: The stage that limited the speed, named as for ``Progress``.
    """

    done: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    on_gpu: Counter[str] = field(default_factory=Counter)
    busy: dict[str, float] = field(default_factory=dict)
    limit: str = ""


class Pipeline:
    """A pipeline that converts and carries the files of a plan and adds them to the manifest.

    Each file is written whole or not at all.

    Args:
        plan: The plan of the conversion.
        inference: Translates the frames; None if there are none to translate.
        manifest: The manifest, open for writing.
        workers: Number of threads that decode and encode, and of threads that carry.
        keep_going: Whether to continue after a file that cannot be converted or carried.
        progress: Called for the stages ``"converting"`` and ``"carrying"``.
        codecs: Decode and encode JPEG files where they can; None for the CPU's alone.
    """

    def __init__(
        self,
        plan: Plan,
        inference: "Inference | None",
        manifest: ManifestWriter,
        *,
        workers: int,
        keep_going: bool,
        progress: Progress,
        codecs: "JpegCodecs | None" = None,
    ) -> None:
        self._plan = plan
        self._codecs = codecs
        self._inference = inference
        self._manifest = manifest
        self._gate = Gate(parse_gate(plan.record.gate), plan.record.rejected, plan.encoding, plan.judges)
        self._keep_going = keep_going
        self._progress = progress
        streams = self._streams = inference.streams if inference else 1
        self._can = plan.can
        self._batch_size = self._can.clip_length if self._can.of_sequences else plan.record.batch_size
        self._most = (streams + 2) * self._batch_size + 2 * workers  # frames in progress: each thread has a next one
        self._pools = {  # translators first, as they submit work to the codecs
            name: ThreadPoolExecutor(threads, f"{name} {id(self)}")
            for name, threads in {"translate": streams, "codec": workers, "carry": workers}.items()
        }
        self._workers = workers
        self._meters = Meters(streams, workers)

        # A Condition is avoided: Ctrl-C may interrupt it halfway and leave its lock held or unusable.
        self._news: SimpleQueue[None] = SimpleQueue()  # wakes ``run`` after a change that it may wait for
        self._lock = threading.RLock()  # guards the attributes below
        self._stopped = False
        self._error: BaseException | None = None
        self._in_progress: dict[str, int] = {}  # pixels of the frames in progress
        self._tally = Tally()
        self._completed = Counter[str]()
        images = {job.path for job in plan.todo if job.translate}
        self._following: dict[str, list[Job]] = {}  # an image -> the files that are written after it
        for job in plan.todo:
            if job.follows in images:
                self._following.setdefault(job.follows, []).append(job)
        frames = len(images)
        self._judged = {frame.image: frame for frame in plan.dataset.frames()} if plan.judges else {}
        self._read_inputs = InputReader(plan.source, Vocabulary.of(plan.info.settings), plan.todo)
        forms = [KINDS[kind] for kind in plan.can.inputs]
        taken = sum(np.dtype(form.dtype).itemsize * (form.channels or 1) for form in forms)
        self._weight = 1 + 2 * taken / _BYTES
        self._totals = {"converting": frames, "carrying": len(plan.todo) - frames}

    def run(self) -> Tally:
        """Process all files of the plan.

        Raises:
            Sim2RealError: If a file cannot be converted or carried and ``keep_going`` is not set.
            OSError: If a file cannot be written.
        """
        begin = time.monotonic()
        waiting = {job.path for jobs in self._following.values() for job in jobs}
        others = iter([job for job in self._plan.todo if not job.translate and job.path not in waiting])
        try:
            for stage, total in self._totals.items():
                if total:
                    self._progress(stage, 0, total)
            for _ in range(self._workers):
                self._start("carry", self._carry_all, others)
            self._send_batches()
            self._wait_until(lambda: self._completed["converting"] == self._totals["converting"])
            translated = time.monotonic()
            self._wait_until(lambda: self._completed["carrying"] == self._totals["carrying"])
        finally:  # files in progress are always finished and recorded
            self._stop()
            for name, pool in self._pools.items():
                _join(pool, f"{name} {id(self)}")
        if self._error:
            raise self._error
        self._tally.busy = self._meters.busy()
        mostly_carrying = self._completed["carrying"] and time.monotonic() - translated > translated - begin
        self._tally.limit = "carrying" if mostly_carrying else self._meters.limit()
        return self._tally

    def _start(self, pool: str, work: Callable[P, R | None], *args: P.args, **kwargs: P.kwargs) -> Future[R | None]:
        """Submit work to a pool; the first error anywhere stops the pipeline."""

        def guarded() -> R | None:
            try:
                return work(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  re-raised by ``run``
                self._stop(error)
                return None

        return self._pools[pool].submit(guarded)

    def _stop(self, error: BaseException | None = None) -> None:
        with self._lock:
            self._stopped = True
            self._error = self._error or error
            self._news.put(None)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until a condition holds or the pipeline is stopped."""
        while True:
            with self._lock:
                if self._stopped or ready():
                    return
            with suppress(Empty):
                self._news.get(timeout=1)  # on Windows, Ctrl-C does not end a wait

    def _send_batches(self) -> None:
        for batch in batches_of(self._plan, self._batch_size, self._streams):
            jobs, size = batch.jobs, batch.size
            pixels = self._pixels(size) * self._batch_size // len(jobs) if size else 0  # a smaller batch is padded
            self._wait_until(lambda: self._has_room(len(jobs), len(jobs) * pixels))  # noqa: B023  called at once
            if self._stopped:
                return
            with self._lock:
                self._in_progress.update(dict.fromkeys((job.path for job in jobs), pixels))
            wanted = [frame.wanted for frame in batch.frames] or [True] * len(jobs)
            decoding = [self._start("codec", self._decode, *each, size) for each in zip(jobs, wanted, strict=True)]
            if window := batch.window:
                window.last = self._start("translate", self._translate_window, decoding, batch, window, window.last)
            elif sequence := batch.sequence:
                before = sequence.last
                sequence.last = self._start("translate", self._translate_piece, decoding, sequence, before)
            else:
                self._start("translate", self._translate, decoding)

    def _pixels(self, size: tuple[int, int]) -> int:
        """Return the pixels of a frame of that size, before or after resizing, whichever is larger, labels included."""
        width, height = self._plan.record.resize or size
        return max(round(self._weight * size[0] * size[1]), width * height)

    def _has_room(self, frames: int, pixels: int) -> bool:
        held = self._in_progress
        return not held or (len(held) + frames <= self._most and sum(held.values()) + pixels <= _PIXELS)

    def _decode(self, job: Job, wanted: bool, size: tuple[int, int] | None) -> Decoded | None:  # noqa: FBT001
        """Decode a frame; errors are ignored if it is needed only for its neighbours."""
        if self._stopped:
            return None
        source = self._plan.source / job.path
        try:
            with self._meters.measure("decoding"), unchanged(job, source):
                decoded = decode(job, source, size, self._codecs)
                inputs, digests = self._read_inputs(job)
        except (SourceError, ImageError, DatasetError) as error:
            if wanted:
                self._fail(job, error)
            return None
        return replace(decoded, inputs=inputs, inputs_sha256=digests)

    def _arguments(self, frames: list[Decoded]) -> tuple[Any, ...]:
        """Return the arguments of ``Inference`` for a batch, padded so that all batches have the same shape."""
        full = [*frames, *frames[-1:] * (self._batch_size - len(frames))]
        jobs = [item.job for item in full]
        return images_of(full), [job.path for job in jobs], inputs_of(full), [job.sequence_name for job in jobs]

    def _translate_window(
        self,
        decoding: list[Future[Decoded | None]],
        batch: Batch,
        window: Window[Decoded],
        before: Future[None] | None,
    ) -> None:
        """Compute the grids of consecutive frames, and translate those whose neighbours' grids are all known."""
        if before:
            before.result()
        seen = [(each, item) for each, future in zip(batch.frames, decoding, strict=True) if (item := future.result())]
        if self._stopped or not self._inference:
            return
        notes: tuple[str, ...] = ()
        if seen:
            arguments = self._arguments([item for _, item in seen])
            with self._meters.measure("translating"):
                grids, notes = self._inference.grids(*arguments)
            for (each, item), grid in zip(seen, grids, strict=False):
                window.add(each.place, grid, item if each.wanted else None)
        for ready in window.ready(batch.known):
            job = ready.item.job
            with self._lock:
                self._in_progress[job.path] = self._pixels(batch.size) if batch.size else 0
            with self._meters.measure("translating"):
                rgb = self._inference.apply_grid(ready.item.picture.rgb, ready.grid, job.path, job.sequence_name)
            self._send([replace(ready.item, whole=ready.whole)], [rgb], notes)
        with self._lock:  # frames that wait for later ones must not block them
            for each in batch.frames:
                if not each.wanted or window.waits(each.place):
                    self._in_progress.pop(each.job.path, None)
            self._news.put(None)

    def _translate(self, decoding: list[Future[Decoded | None]]) -> None:
        batch = [item for future in decoding if (item := future.result())]
        if self._stopped or not batch or not self._inference:
            return
        arguments = self._arguments(batch)
        with self._meters.measure("translating"):
            translated, notes = self._inference(*arguments)
        self._send(batch, translated, notes)

    def _translate_piece(
        self, decoding: list[Future[Decoded | None]], sequence: Sequence, before: Future[None] | None
    ) -> None:
        """Translate the next frames of a sequence after the previous ones."""
        if before:
            before.result()
        piece = [future.result() for future in decoding]
        for frames in runs(piece):
            if self._stopped or not self._inference:
                return
            images, paths, inputs, names = self._arguments(frames)
            if self._can.clip_length > 1:
                images, inputs = images[None], {kind: values[None] for kind, values in inputs.items()}
            if self._can.context:
                inputs |= sequence.past_inputs(images)
            with self._meters.measure("translating"):
                translated, notes = self._inference(images, paths[:1], inputs, names[:1])
            outputs = translated[0] if self._can.clip_length > 1 else translated
            sequence.past.append((images[0], outputs[0]))
            self._send(frames, outputs, notes)
        if piece[-1] is None:  # the next frames start without context
            sequence.past.clear()

    def _send(self, frames: list[Decoded], translated: Iterable["NDArray[np.uint8]"], notes: tuple[str, ...]) -> None:
        for item, rgb in zip(frames, translated, strict=False):
            self._start("codec", self._write, replace(item, inputs={}), rgb, notes)

    def _write(self, decoded: Decoded, rgb: "NDArray[np.uint8]", notes: tuple[str, ...]) -> None:
        if size := self._plan.record.resize:
            decoded, rgb = resized(decoded, rgb, (size[0], size[1]))
        job, picture = decoded.job, decoded.picture
        try:
            with self._meters.measure("encoding and writing"):
                rgb = self._with_camera(job, picture, rgb)
                data, on_gpu = self._encode(rgb, picture)
            outcome = GateOutcome(data=data)
            if self._plan.record.gate:
                with self._meters.measure("judging"):
                    frame = self._judged.get(job.path)
                    outcome = self._gate.judge(picture, rgb, data, Labels(frame) if frame else {})
            with self._meters.measure("encoding and writing"):
                line = self._write_result(decoded, outcome)
        except (SourceError, ImageError, DatasetError) as error:
            self._fail(job, error)
            return
        height, width = rgb.shape[:2]
        notes = (*picture.notes, *self._plan.encoding.notes(picture), *notes, *outcome.notes)
        done = {"decode": decoded.on_gpu, "encode": on_gpu}
        notes += tuple(_NOT_BY_GPU[name] for name, by_gpu in done.items() if by_gpu is False)
        line = replace(
            line,
            width=width,
            height=height,
            notes=notes,
            decoder="gpu" if decoded.on_gpu else None,
            encoder="gpu" if on_gpu and outcome.data is data else None,
        )
        self._done(job, line)
        for each in self._following.get(job.path, ()):
            self._carry(each)

    def _encode(self, rgb: "NDArray[np.uint8]", picture: Picture) -> tuple[bytes, bool | None]:
        """Return the file of a translation, and whether a GPU encoded it; None if only a CPU should."""
        if self._codecs:
            return self._codecs.encode_picture(rgb, picture, self._plan.encoding)
        return encode_picture(rgb, picture, self._plan.encoding), None

    def _with_camera(self, job: Job, picture: Picture, rgb: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Return a frame with the blur and noise of the camera; the same JPEG encoding is not applied twice."""
        if not self._plan.camera:
            return rgb
        encoding = self._plan.info.camera_encoding
        if picture.format == "JPEG" and self._plan.encoding.of(picture) == encoding:
            encoding = None
        return self._plan.camera.apply(rgb, seed_of(with_look(job.path, self._plan.record.look)), encoding)

    def _write_result(self, decoded: Decoded, outcome: GateOutcome) -> Line:
        """Write the result for a frame; a quarantined translation is written before its substitute."""
        job = decoded.job
        if outcome.quarantined is not None:
            write_whole(self._target(quarantine_path(job.path)), outcome.quarantined)
        data = outcome.data
        if data is None and job.resize:
            data = encode_picture(decoded.picture.rgb, decoded.picture, self._plan.encoding)
        if data is None:
            size, sha256 = job.size, self._carry_bytes(job)
            if sha256 != decoded.sha256:
                raise SourceError(CHANGED)
        else:
            size, sha256 = len(data), hashlib.sha256(data).hexdigest()
            write_whole(self._target(job.path), data)
        stats = {kind: file.stat for kind, file in job.inputs.items() if file.stat}
        return replace(
            _line(job, decoded.sha256, sha256, size),
            status="rejected" if outcome.reason else job.aim,
            reason=outcome.reason,
            figures=outcome.figures,
            instead=outcome.instead,
            resized_from=job.resize.source if job.resize else None,
            quarantine_size=None if outcome.quarantined is None else len(outcome.quarantined),
            quarantine_sha256=None if outcome.quarantined is None else hashlib.sha256(outcome.quarantined).hexdigest(),
            inputs_sha256=decoded.inputs_sha256 or None,
            inputs_size={kind: stat[0] for kind, stat in stats.items()} or None,
            inputs_mtime_ns={kind: stat[1] for kind, stat in stats.items()} or None,
            sequence_sha256=(job.depends or None) if decoded.whole else None,
        )

    def _carry_all(self, jobs: Iterator[Job]) -> None:
        """Carry files until none are left; several threads share the iterator."""
        for job in jobs:
            if self._stopped:
                return
            self._carry(job)

    def _carry(self, job: Job) -> None:
        try:
            if job.resize or job.embedding:
                line = self._edit(job)
            else:
                digest = self._carry_bytes(job)
                line = _line(job, digest, digest, job.size)
        except SourceError as error:
            self._fail(job, error)
            return
        self._done(job, line)

    def _edit(self, job: Job) -> Line:
        """Write a file that depends on the size of the images or holds a photo."""
        source = self._plan.source / job.path
        with unchanged(job, source):
            original = read(source)
        try:
            data = job.resize(original) if job.resize else original
            data, embedded = job.embedding(data, self._plan.out) if job.embedding else (data, None)
        except DamageError as error:
            raise SourceError(f"cannot be {job.aim}: {error}") from error
        write_whole(self._target(job.path), data)
        line = _line(job, hashlib.sha256(original).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))
        return replace(line, resized_from=job.resize.source if job.resize else None, embedded_sha256=embedded)

    def _carry_bytes(self, job: Job) -> str:
        """Carry a file byte for byte and return its SHA-256."""
        source = self._plan.source / job.path
        with replacing(self._target(job.path)) as temporary, unchanged(job, source):
            return carry(source, temporary, job.mode(self._plan.record.carry))

    def _target(self, path: str) -> Path:
        folder, _, name = path.rpartition("/")
        parent = inside(self._plan.out, folder)
        parent.mkdir(parents=True, exist_ok=True)
        return parent / name

    def _done(self, job: Job, line: Line) -> None:
        with self._lock:
            self._manifest.add(line)
            self._tally.done[line.status] += 1
            if job.mode(self._plan.record.carry) == "copy":
                self._tally.bytes += (line.size or 0) + (line.quarantine_size or 0)
            if line.instead:
                self._tally.rejected[line.instead] += 1
            self._tally.notes.update(line.notes)
            self._tally.on_gpu += Counter(decoded=line.decoder == "gpu", encoded=line.encoder == "gpu")
            self._notify(job)

    def _fail(self, job: Job, error: Exception) -> None:
        reason = str(error).removeprefix(f"{self._plan.source / job.path}: ")
        following = [(each, f"its photo {job.path} failed") for each in self._following.get(job.path, ())]
        with self._lock:
            for each, why in [(job, reason), *following]:
                self._manifest.add(Line(path=each.path, role=each.role, status="failed", reason=why))
                self._tally.failed.append((each.path, why))
                self._notify(each)
        if not self._keep_going:
            message = (
                f"{self._plan.source / job.path}: {reason}; what is finished is kept: repair the file and run the same "
                "command again, --exclude it, or convert the others with --keep-going"
            )
            raise Sim2RealError(message, topic="damaged-images")

    def _notify(self, job: Job) -> None:
        """Count a finished or failed file and report progress."""
        stage = "converting" if job.translate else "carrying"
        self._completed[stage] += 1
        self._in_progress.pop(job.path, None)
        self._news.put(None)
        if stage == "converting":
            limit = self._meters.limit()
        else:  # carrying waits for the conversion of images
            limit = "carrying" if self._completed["converting"] == self._totals["converting"] else ""
        self._progress(stage, self._completed[stage], self._totals[stage], limit)


def _join(pool: ThreadPoolExecutor, name: str) -> None:
    """Wait until all threads of a pool have finished.

    ``pool.shutdown(wait=True)`` misses a thread that Ctrl-C interrupts while it starts, and takes a thread for finished
    if Ctrl-C interrupts the wait: https://github.com/python/cpython/issues/90882.
    """
    pool.shutdown(wait=False)
    while any(thread.name.startswith(name) for thread in threading.enumerate()):
        time.sleep(0.005)


def _line(job: Job, source_sha256: str, sha256: str, size: int) -> Line:
    """Return the manifest line of a finished file."""
    return Line(
        path=job.path,
        role=job.role,
        status=job.aim,
        source_size=job.size,
        source_mtime_ns=job.mtime_ns,
        source_sha256=source_sha256,
        size=size,
        sha256=sha256,
        stale=job.stale or None,
    )
