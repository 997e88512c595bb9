"""The batches of a conversion and their order: frames of one size, pieces of sequences, frames with neighbours.

Frames are grouped into batches by the sizes in their headers, before any is decoded. If the generator sees several
frames of a sequence, batches are pieces of sequences: clips or single frames. If grids are averaged over neighbours,
batches are frames of one sequence. The number of sequences in progress is the number of threads that translate.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from sim2real.capabilities import PAST
from sim2real.conversion.decoding import Decoded
from sim2real.conversion.resized_files import size_of
from sim2real.conversion.sequences import sequences_of
from sim2real.conversion.windows import Window, WindowFrame

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from sim2real.conversion.jobs import Job
    from sim2real.conversion.plan import Plan


class Sequence:
    """A sequence in progress, with the earlier frames that the generator sees and their translations.

    Args:
        context: Maximum number of these frames.

    Attributes:
        last: The task submitted last; the next one waits for it.
        past: Pairs of an earlier frame and its translation, (H, W, 3) each.
    """

    def __init__(self, context: int) -> None:
        self.last: Future[None] | None = None
        self.past: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=context)

    def past_inputs(self, images: "NDArray[np.uint8]") -> "dict[str, NDArray[np.uint8]]":
        """Return earlier frames and their translations as inputs, (1, j, H, W, 3); j is 0 at the start."""
        none = np.empty((1, 0, *images.shape[1:]), np.uint8)
        pairs = zip(*self.past, strict=True) if self.past else ((), ())
        return {kind: np.stack(frames)[None] if frames else none for kind, frames in zip(PAST, pairs, strict=True)}


@dataclass(frozen=True)
class Batch:
    """Frames that are translated together.

    Attributes:
        jobs: The frames.
        size: Size (W, H) of each; None if unknown.
        sequence: The sequence of the frames, if the generator sees several frames.
        window: The window of the sequence, if grids are averaged.
        frames: The frames of the batch in the window.
        known: The last place up to which all grids are known after this batch.
    """

    jobs: list["Job"]
    size: tuple[int, int] | None
    sequence: Sequence | None = None
    window: Window[Decoded] | None = None
    frames: list[WindowFrame] = field(default_factory=list)
    known: int = 0


def batches_of(plan: "Plan", most: int, streams: int) -> Iterator[Batch]:
    """Yield the batches of a plan; each is made when it is requested.

    Args:
        plan: The plan of the conversion.
        most: Maximum number of frames per batch.
        streams: Number of sequences in progress at a time.
    """
    if plan.can.of_sequences:
        return _in_turns((_pieces(plan, jobs) for jobs in sequences_of(plan.todo)), streams)
    return chain(_with_neighbours(plan, most, streams), _by_size(plan, most))


def _pieces(plan: "Plan", jobs: list["Job"]) -> Iterator[Batch]:
    """Yield the clips or frames of a sequence in order."""
    sequence, step = Sequence(plan.can.context), plan.can.clip_length
    for first in range(0, len(jobs), step):
        piece = jobs[first : first + step]
        yield Batch(piece, _size_of(plan, piece), sequence)


def _with_neighbours(plan: "Plan", most: int, streams: int) -> Iterator[Batch]:
    """Return the batches of frames whose grids are averaged over neighbours, with these neighbours."""
    if not (reach := plan.record.neighbours):
        return iter(())
    todo = {job.path for job in plan.todo if job.sequence}
    sequences = (group for group in sequences_of(plan.jobs) if any(job.path in todo for job in group))
    return _in_turns((_windows(plan, Window(group, todo, reach), most) for group in sequences), streams)


def _windows(plan: "Plan", window: Window[Decoded], most: int) -> Iterator[Batch]:
    for frames, known in window.batches(most):
        jobs = [frame.job for frame in frames]
        yield Batch(jobs, _size_of(plan, jobs), window=window, frames=frames, known=known)


def _in_turns(waiting: Iterator[Iterator[Batch]], streams: int) -> Iterator[Batch]:
    """Yield batches of several sequences in turn; those of each sequence are in order."""
    in_work = deque(islice(waiting, streams))
    while in_work:
        batches = in_work.popleft()
        if batch := next(batches, None):
            yield batch
            in_work.append(batches)
        else:
            in_work.extend(islice(waiting, 1))


def _by_size(plan: "Plan", most: int) -> Iterator[Batch]:
    """Yield all other frames grouped by size; a frame of unknown size is alone, and decoding reports why."""
    waiting: dict[tuple[int, int], list[Job]] = {}
    for job in plan.todo:
        if job.translate and not job.sequence:
            if (size := _size_of(plan, [job])) is None:
                yield Batch([job], None)
                continue
            group = waiting.setdefault(size, [])
            group.append(job)
            if len(group) == most:
                yield Batch(waiting.pop(size), size)
    yield from (Batch(group, size) for size, group in waiting.items())


def _size_of(plan: "Plan", jobs: list["Job"]) -> tuple[int, int] | None:
    """Return the size of the first frame whose size is known."""
    return next(filter(None, (size_of(plan.source / job.path) for job in jobs)), None)
