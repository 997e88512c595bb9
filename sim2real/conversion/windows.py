"""Frames whose grids are averaged over their neighbours in a sequence, so that light and colours do not flicker.

What a frame's grid is, it alone decides, and which neighbours it has, the source: order, shards, batches and reruns
change nothing. Only frames that are to be done, and their neighbours, are looked at.
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


class Look(NamedTuple):
    """A frame of a sequence that is looked at.

    Attributes:
        place: Its number in the sequence.
        job: The frame.
        wanted: Whether it is to be done; others are looked at for their neighbours' sake.
    """

    place: int
    job: "Job"
    wanted: bool


class Ready(NamedTuple, Generic[T]):
    """A frame whose neighbours are all known.

    Attributes:
        item: What was kept of it.
        grid: The mean over it and its neighbours, (12, D, h, w).
        whole: Whether none of these was missing.
    """

    item: T
    grid: "NDArray[np.float32]"
    whole: bool


class Window(Generic[T]):
    """The frames of one sequence, each kept until the grids of its neighbours are there.

    Args:
        sequence: All its frames, in order.
        todo: The paths of those that are to be done.
        reach: Neighbours on either side.

    Attributes:
        last: What was last asked to be done of it, so that what follows can wait for that.
    """

    def __init__(self, sequence: list["Job"], todo: Container[str], reach: int) -> None:
        self._reach = reach
        wanted = [job.path in todo for job in sequence]
        self._looks = [
            Look(place, job, wanted[place]) for place, job in enumerate(sequence) if any(wanted[self._near(place)])
        ]
        self._last = len(sequence) - 1
        self._grids: dict[int, NDArray[np.float32]] = {}
        self._waiting: deque[tuple[int, T]] = deque()
        self.last: Future[None] | None = None

    def batches(self, count: int) -> Iterator[tuple[list[Look], int]]:
        """What is to be looked at, so many at a time, and up to which place everything is known after each."""
        several = [self._looks[first : first + count] for first in range(0, len(self._looks), count)]
        for number, batch in enumerate(several, 1):
            yield batch, (several[number][0].place - 1 if number < len(several) else self._last)

    def add(self, place: int, grid: "NDArray[np.float32]", item: T | None) -> None:
        """Keep the grid of a frame, and what of the frame will be needed; None if it is not to be done."""
        self._grids[place] = grid
        if item is not None:
            self._waiting.append((place, item))

    def waits(self, place: int) -> bool:
        """Whether a frame waits for its neighbours."""
        return any(place == waiting for waiting, _ in self._waiting)

    def ready(self, known: int) -> Iterator[Ready[T]]:
        """The frames that wait for nothing more, if everything up to a place is known."""
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
