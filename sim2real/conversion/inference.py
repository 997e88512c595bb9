"""The generator at work on frames of any size, with what is done when memory does not suffice."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.capabilities import capabilities
from sim2real.conversion.jobs import seed_of
from sim2real.conversion.looks import named as look_name
from sim2real.conversion.trial import extras, make_engine
from sim2real.datasets.inputs import Inputs
from sim2real.engines.base import EngineSettings
from sim2real.engines.guided import GuidedEngine
from sim2real.engines.tiling import CannotTileError, TiledEngine, check_tiling
from sim2real.errors import OutOfMemoryError, PluginError, Sim2RealError
from sim2real.model import load_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim2real.conversion.plan import Plan

Size = tuple[int, int]
_CALIBRATION = 32  # frames
_UPPER = np.uint64(0xFFFFFFFF00000000)
_FIRST_TILE, _LAST_TILE = 512, 64  # sides that are tried when a single frame does not fit


class Inference:
    """Translates batches of frames as a plan's record says; where memory falls short, fewer at once, then in tiles.

    Args:
        plan: Says how.
        notify: Called with a line on what the user would wonder at.

    Attributes:
        streams: How many threads may call it at once to their advantage.
        can: What the generator says of itself.

    Raises:
        CannotCompileError: The record says that the engine is compiled, and it cannot be.
        Sim2RealError: The engine cannot be made.
    """

    def __init__(self, plan: "Plan", notify: Callable[[str], None]) -> None:
        record = plan.record
        self._generator, info = load_generator(plan.model)
        self.can = capabilities(self._generator, info.name)
        self._settings = EngineSettings(
            device=plan.device,
            precision=record.precision,
            batch_size=record.batch_size,
            compile=tuple((width, height) for width, height in record.compile),
            calibration=tuple(plan.spread(_CALIBRATION)),
            read_inputs=plan.read_inputs,
        )
        self._tile, self._tile_above = record.tile, record.tile_above
        self._name = record.generator["name"]
        self._notify = notify
        self._engine_name = record.engine
        self._look = record.look
        self._guided_size = record.transfer_size
        self._engine: Callable[..., NDArray[np.uint8]] = make_engine(record.engine, self._generator, self._settings)
        if self._guided_size:
            self._engine = GuidedEngine(self._engine, self._guided_size, plan.device)
        for note in getattr(self._engine, "notes", ()):
            notify(f"engine {record.engine}: {note}")
        self.streams: int = getattr(self._engine, "streams", 1)
        self._lock = threading.Lock()
        self._tiled: dict[int, TiledEngine] = {}  # the one of the side that was used last
        self._at_once: dict[Size, int] = {}  # where memory fell short: how many frames of a size
        self._sides: dict[Size, int] = {}  # where it fell short for one: the side of its tiles
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
            paths: Of these frames within the dataset, or of the first ones of the clips: they seed what a generator
                samples at random.
            inputs: What it sees besides, (N, ...).
            sequences: Names of what the frames belong to, for a generator that is steady; may be left out.

        Returns:
            RGB of the same shape, and what the manifest is to note of these frames, one phrase each.

        Raises:
            OutOfMemoryError: Even the smallest tiles need more memory than there is.
            PluginError: An engine makes pictures of other sizes, or other numbers of them.
            Sim2RealError: It cannot be done.
        """
        return self._translated(self._run, images, self._seeds(paths, sequences), inputs)

    def grids(
        self,
        images: "NDArray[np.uint8]",
        paths: Sequence[str],
        inputs: Inputs = MappingProxyType({}),
        sequences: Sequence[str] = (),
    ) -> "tuple[NDArray[np.float32], tuple[str, ...]]":
        """What is done to frames where that is a bilateral grid, (N, 12, D, h, w); called as it is itself."""
        run = self._engine.grids  # type: ignore[attr-defined]  # the plan sees to it
        return self._translated(
            lambda part, seeds, more: run(part, inputs=more, seeds=seeds), images, self._seeds(paths, sequences), inputs
        )

    def apply_grid(
        self, image: "NDArray[np.uint8]", grid: "NDArray[np.float32]", path: str, sequence: str
    ) -> "NDArray[np.uint8]":
        """A frame (H, W, 3) after a grid (12, D, h, w), both (H, W, 3)."""
        run = self._engine.apply_grids  # type: ignore[attr-defined]  # as above
        made: NDArray[np.uint8] = run(image[None], grid[None], seeds=self._seeds([path], [sequence]))[0]
        return made

    def _seeds(self, paths: Sequence[str], sequences: Sequence[str]) -> "NDArray[np.uint64]":
        named = [[look_name(text, self._look) for text in texts] for texts in (paths, sequences)]
        return seeds_of(named[0], named[1] if self.can.steady else ())

    def _translated(
        self,
        run: Callable[..., "NDArray[Any]"],
        images: "NDArray[np.uint8]",
        seeds: "NDArray[np.uint64]",
        inputs: Inputs,
    ) -> "tuple[NDArray[Any], tuple[str, ...]]":
        """What ``run`` makes of frames, of as many at once as there is memory for, and what is to be noted."""
        height, width = images.shape[-3:-1]
        size = width, height
        while True:
            side = self._sides.get(size) or (self._tile if width * height > self._tile_above else 0)
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
            message = f"engine {self._engine_name}: it makes {translated.shape} of pictures {images.shape}"
            raise PluginError(f"{message}; name another one by --engine")
        return translated

    def _tiled_engine(self, side: int) -> TiledEngine:
        with self._lock:
            if side not in self._tiled:
                self._check_tiling()
                self._tiled = {side: TiledEngine(self._generator, self._settings, side)}
            return self._tiled[side]

    def _check_tiling(self) -> None:
        if self._guided_size:
            message = f"the transfer is guided, so the generator sees whole frames at {self._guided_size} pixels"
            raise CannotTileError(message)
        try:
            check_tiling(self._generator)
        except CannotTileError as error:
            message = f"the generator '{self._name}' cannot be run in tiles: {error}"
            raise CannotTileError(message) from error

    def _shrink(self, size: Size, side: int, count: int, error: OutOfMemoryError) -> None:
        """Take a smaller step where one was too large; another thread may have done so meanwhile."""
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
                    message = f"{error}; {cannot}"
                    raise Sim2RealError(message) from error
                self._at_once.pop(size, None)
                self._sides[size] = min(self._tile or _FIRST_TILE, _FIRST_TILE)
            if not self._reported:
                width, height = size
                self._notify(
                    f"memory falls short with frames of {width}x{height}: from here on they are translated fewer at a "
                    "time or in tiles; the manifest notes which"
                )
            self._reported = True


def seeds_of(paths: Sequence[str], sequences: Sequence[str] = ()) -> "NDArray[np.uint64]":
    """A number for each frame, (N,), from its path within the dataset alone: no rerun, batch or shard changes it.

    Args:
        paths: Of the frames.
        sequences: Names of what they belong to, of which the upper halves of the numbers are made; empty: of nothing.
    """
    seeds = _numbers(paths)
    for number, sequence in enumerate(sequences):
        if sequence:
            seeds[number] = (_numbers([sequence])[0] & _UPPER) | (seeds[number] & ~_UPPER)
    return seeds


def _numbers(texts: Sequence[str]) -> "NDArray[np.uint64]":
    return np.array([seed_of(text) for text in texts], np.uint64)


def without_compilation(plan: "Plan") -> "Plan":
    """The same plan where nothing can be compiled."""
    return replace(plan, record=replace(plan.record, compile=[]))
