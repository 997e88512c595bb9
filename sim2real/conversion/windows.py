"""Averaging of grids over neighbouring frames of a sequence, so that light and colours do not flicker.

The grid of a frame depends on that frame alone and its neighbours depend on the source alone, so order, shards, batches
and reruns change nothing. Only frames that are to be done, and their neighbours, are read.
"""

from collections import deque
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from sim2real.conversion.jobs import Job

T = TypeVar("T")


class WindowFrame(NamedTuple):
    """A frame of a sequence that is read.

    Attributes:
        place: Its index in the sequence.
        job: The frame.
        wanted: Whether it is to be done; other frames are read only for their neighbours.
    """

    place: int
    job: "Job"
    wanted: bool


class Ready(NamedTuple, Generic[T]):
    """A frame whose neighbours are all known.

    Attributes:
        item: The item that was kept for the frame.
        grid: Weighted mean of the grids of the frame and its neighbours, (12, D, h, w).
        whole: Whether all these grids were available.
    """

    item: T
    grid: "NDArray[np.float32]"
    whole: bool


class Window(Generic[T]):
    """The frames of one sequence, each kept until the grids of its neighbours are available.

    Args:
        sequence: All frames of the sequence, in order.
        todo: The paths of the frames to do.
        reach: Number of neighbours on either side.

    Attributes:
        last: The task submitted last; the next one waits for it.
    """

    def __init__(self, sequence: list["Job"], todo: Container[str], reach: int) -> None:
        self._reach = reach
        wanted = [job.path in todo for job in sequence]
        self._frames = [
            WindowFrame(place, job, wanted[place])
            for place, job in enumerate(sequence)
            if any(wanted[self._near(place)])
        ]
        self._last = len(sequence) - 1
        self._grids: dict[int, NDArray[np.float32]] = {}
        self._waiting: deque[tuple[int, T]] = deque()
        self.last: Future[None] | None = None

    def batches(self, count: int) -> Iterator[tuple[list[WindowFrame], int]]:
        """Yield batches of ``count`` frames to read, each with the last place up to which grids are then known."""
        several = [self._frames[first : first + count] for first in range(0, len(self._frames), count)]
        for number, batch in enumerate(several, 1):
            yield batch, (several[number][0].place - 1 if number < len(several) else self._last)

    def add(self, place: int, grid: "NDArray[np.float32]", item: T | None) -> None:
        """Add the grid of a frame, and the item to return with it; None if the frame is not to be done."""
        self._grids[place] = grid
        if item is not None:
            self._waiting.append((place, item))

    def waits(self, place: int) -> bool:
        """Return whether a frame is waiting for its neighbours."""
        return any(place == waiting for waiting, _ in self._waiting)

    def ready(self, known: int) -> Iterator[Ready[T]]:
        """Yield the frames whose neighbours are complete if all grids up to the place ``known`` are known."""
        while self._waiting and min(self._waiting[0][0] + self._reach, self._last) <= known:
            place, item = self._waiting.popleft()
            there = range(*self._near(place).indices(self._last + 1))
            near = [number for number in there if number in self._grids]
            weights = [self._reach + 1 - abs(number - place) for number in near]
            mean = np.zeros_like(self._grids[place])
            for number, weight in zip(near, weights, strict=True):
                mean += np.float32(weight / sum(weights)) * self._grids[number]
            yield Ready(item, mean, len(near) == len(there))
        oldest = (self._waiting[0][0] if self._waiting else known + 1) - self._reach
        for number in [number for number in self._grids if number < oldest]:
            del self._grids[number]

    def _near(self, place: int) -> slice:
        return slice(max(0, place - self._reach), place + self._reach + 1)
