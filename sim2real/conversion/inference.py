"""Translation of frames of any size, with fallbacks if memory runs out."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.conversion.jobs import seed_of
from sim2real.conversion.looks import with_look
from sim2real.conversion.plan import evenly
from sim2real.conversion.trial import extras, make_engine
from sim2real.datasets.inputs import Inputs
from sim2real.engines.base import EngineSettings
from sim2real.engines.guided import GuidedEngine
from sim2real.engines.tiling import CannotTileError, TiledEngine, check_tiling
from sim2real.errors import OutOfMemoryError, PluginError, Sim2RealError
from sim2real.manual import more
from sim2real.model import load_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim2real.conversion.plan import Plan

Size = tuple[int, int]
_CALIBRATION = 32  # frames
_UPPER = np.uint64(0xFFFFFFFF00000000)
_FIRST_TILE, _LAST_TILE = 512, 64  # largest and smallest side that is tried if a single frame does not fit


class Inference:
    """A translator of batches of frames, as the plan's record specifies.

    If memory runs out, it translates fewer frames at a time, and then in tiles.

    Args:
        plan: The plan of the conversion.
        notify: Called with a line for each notable event.

    Attributes:
        streams: Number of threads that may usefully call it at the same time.

    Raises:
        CannotCompileError: If the record specifies a compiled engine and compilation fails.
        Sim2RealError: If the engine cannot be created.
    """

    def __init__(self, plan: "Plan", notify: Callable[[str], None]) -> None:
        record, frames = plan.record, [job for job in plan.jobs if job.translate]
        self._generator, _ = load_generator(plan.model)
        self._steady = plan.can.steady
        self._settings = EngineSettings(
            device=plan.device,
            precision=record.precision,
            channels_last=record.channels_last,
            batch_size=record.batch_size,
            compile=tuple((width, height) for width, height in record.compile),
            calibration=tuple(plan.source / job.path for job in evenly(frames, _CALIBRATION)),
            read_inputs=plan.read_inputs,
        )
        self._record = record
        self._name = plan.info.name
        self._notify = notify
        self._engine: Callable[..., NDArray[np.uint8]] = make_engine(record.engine, self._generator, self._settings)
        if record.transfer_size:
            self._engine = GuidedEngine(self._engine, record.transfer_size, plan.device)
        for note in getattr(self._engine, "notes", ()):
            notify(f"engine {record.engine}: {note}")
        self.streams: int = getattr(self._engine, "streams", 1)
        self._lock = threading.Lock()
        self._tiled: dict[int, TiledEngine] = {}  # by side; only the one used last
        self._at_once: dict[Size, int] = {}  # after running out of memory: frames per call, by size
        self._sides: dict[Size, int] = {}  # after running out with a single frame: side of the tiles, by size
        self._reported = False

    def __call__(
        self,
        images: "NDArray[np.uint8]",
        paths: Sequence[str],
        inputs: Inputs = MappingProxyType({}),
        sequences: Sequence[str] = (),
    ) -> "tuple[NDArray[np.uint8], tuple[str, ...]]":
        """Translate frames of one size.

        Args:
            images: RGB (N, H, W, 3), or clips, (N, T, H, W, 3).
            paths: Paths of these frames within the dataset, or of the first frames of the clips; seeds for random
                sampling are derived from them.
            inputs: Other inputs of the generator, (N, ...).
            sequences: Names of the sequences of the frames, for a generator with the capability ``steady``; may be left
                out.

        Returns:
            RGB of the same shape, and notes on these frames for the manifest.

        Raises:
            OutOfMemoryError: If even the smallest tiles do not fit in memory.
            PluginError: If an engine returns pictures of other sizes or another number of them.
            Sim2RealError: If the frames cannot be translated.
        """
        return self._translated(self._run, images, self._seeds(paths, sequences), inputs)

    def grids(
        self,
        images: "NDArray[np.uint8]",
        paths: Sequence[str],
        inputs: Inputs = MappingProxyType({}),
        sequences: Sequence[str] = (),
    ) -> "tuple[NDArray[np.float32], tuple[str, ...]]":
        """Return the bilateral grids for frames, (N, 12, D, h, w), and notes; the arguments are those of a call."""
        run = self._engine.grids  # type: ignore[attr-defined]  # ensured by the plan
        return self._translated(
            lambda part, seeds, more: run(part, inputs=more, seeds=seeds), images, self._seeds(paths, sequences), inputs
        )

    def apply_grid(
        self, image: "NDArray[np.uint8]", grid: "NDArray[np.float32]", path: str, sequence: str
    ) -> "NDArray[np.uint8]":
        """Apply a grid (12, D, h, w) to a frame (H, W, 3); returns the new frame (H, W, 3)."""
        run = self._engine.apply_grids  # type: ignore[attr-defined]  # as above
        made: NDArray[np.uint8] = run(image[None], grid[None], seeds=self._seeds([path], [sequence]))[0]
        return made

    def _seeds(self, paths: Sequence[str], sequences: Sequence[str]) -> "NDArray[np.uint64]":
        named = [[with_look(text, self._record.look) for text in texts] for texts in (paths, sequences)]
        return seeds_of(named[0], named[1] if self._steady else ())

    def _translated(
        self,
        run: Callable[..., "NDArray[Any]"],
        images: "NDArray[np.uint8]",
        seeds: "NDArray[np.uint64]",
        inputs: Inputs,
    ) -> "tuple[NDArray[Any], tuple[str, ...]]":
        """Return the results of ``run`` for frames, as many at a time as fit in memory, and notes."""
        height, width = images.shape[-3:-1]
        size = width, height
        while True:
            side = self._sides.get(size) or (self._record.tile if width * height > self._record.tile_above else 0)
            count = self._at_once.get(size, len(images))
            try:
                if side:
                    notes = (f"translated in tiles of {side} for lack of memory",) if size in self._sides else ()
                    return self._tiled_engine(side)(images, seeds=seeds), notes
                parts = [
                    run(images[part], seeds[part], {kind: values[part] for kind, values in inputs.items()})
                    for part in (slice(first, first + count) for first in range(0, len(images), count))
                ]
            except OutOfMemoryError as error:
                self._shrink(size, side, count, error)
            else:
                notes = (f"translated {count} at a time for lack of memory",) if size in self._at_once else ()
                return np.concatenate(parts) if len(parts) > 1 else parts[0], notes

    def _run(self, images: "NDArray[np.uint8]", seeds: "NDArray[np.uint64]", inputs: Inputs) -> "NDArray[np.uint8]":
        translated = self._engine(images, **extras(self._engine, inputs, seeds))
        if translated.shape != images.shape:
            message = f"engine {self._record.engine}: it returned {translated.shape} for pictures {images.shape}"
            raise PluginError(f"{message}; choose another one with --engine")
        return translated

    def _tiled_engine(self, side: int) -> TiledEngine:
        with self._lock:
            if side not in self._tiled:
                self._check_tiling()
                self._tiled = {side: TiledEngine(self._generator, self._settings, side)}
            return self._tiled[side]

    def _check_tiling(self) -> None:
        if self._record.transfer_size:
            message = (
                f"the transfer is guided, so the generator sees whole frames at {self._record.transfer_size} pixels"
            )
            raise CannotTileError(message)
        try:
            check_tiling(self._generator)
        except CannotTileError as error:
            message = f"the generator '{self._name}' cannot be run in tiles: {error}"
            raise CannotTileError(message) from error

    def _shrink(self, size: Size, side: int, count: int, error: OutOfMemoryError) -> None:
        """Reduce the batch or the tiles after running out of memory, unless another thread has done so already."""
        with self._lock:
            if (self._sides.get(size, side), self._at_once.get(size, count)) != (side, count):
                return
            if side:
                if side // 2 < _LAST_TILE:
                    raise error
                self._sides[size] = side // 2
            elif count > 1:
                self._at_once[size] = count // 2
            else:
                try:
                    self._check_tiling()
                except CannotTileError as cannot:
                    raise Sim2RealError(f"{error}; {cannot}", topic="out-of-memory") from error
                self._at_once.pop(size, None)
                self._sides[size] = min(self._record.tile or _FIRST_TILE, _FIRST_TILE)
            if not self._reported:
                width, height = size
                self._notify(
                    f"out of memory with frames of {width}x{height}: from now on fewer are translated at a "
                    f"time, or in tiles; the manifest notes which{more('out-of-memory')}"
                )
            self._reported = True


def seeds_of(paths: Sequence[str], sequences: Sequence[str] = ()) -> "NDArray[np.uint64]":
    """Return a seed for each frame, (N,), from its path within the dataset alone.

    Reruns, batches and shards do not change it.

    Args:
        paths: Paths of the frames.
        sequences: Names of their sequences, which determine the upper halves of the seeds; empty to use paths alone.
    """
    seeds = _numbers(paths)
    for number, sequence in enumerate(sequences):
        if sequence:
            seeds[number] = (_numbers([sequence])[0] & _UPPER) | (seeds[number] & ~_UPPER)
    return seeds


def _numbers(texts: Sequence[str]) -> "NDArray[np.uint64]":
    return np.array([seed_of(text) for text in texts], np.uint64)


def without_compilation(plan: "Plan") -> "Plan":
    """Return the same plan without compilation."""
    return replace(plan, record=replace(plan.record, compile=[]))
