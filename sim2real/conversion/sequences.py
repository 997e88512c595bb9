"""Sequences of frames whose translations depend on each other.

If changes are averaged over neighbours, each frame depends only on these and is converted, or converted again, by
itself. The rest of this description applies to generators that see several frames and translate them in order.

Such a sequence is converted as a whole, by one process, and again from its start if any of its frames is not done or
has changed, so that an interrupted conversion ends in the same bytes. Images without a sequence form sequences of one.
If the indices of a layout count the frames of a video, a gap begins a new sequence.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.conversion.resized_files import size_of
from sim2real.errors import DatasetError

_PIECE = 64  # frames

if TYPE_CHECKING:
    from sim2real.conversion.jobs import Job
    from sim2real.datasets.base import Frame


def in_order(frames: Iterable["Frame"]) -> list[list["Frame"]]:
    """Return the frames of a dataset by sequence, each in order."""
    named: dict[str, list[Frame]] = {}
    sequences: list[list[Frame]] = []
    for frame in frames:
        if frame.sequence:
            named.setdefault(frame.sequence, []).append(frame)
        else:
            sequences.append([frame])
    for several in named.values():
        before = None
        for frame in sorted(several, key=lambda frame: (frame.index, frame.image)):
            consecutive = frame.dataset is not None and frame.dataset.adapter.consecutive
            if before is None or (consecutive and frame.index > before + 1):
                sequences.append([])
            sequences[-1].append(frame)
            before = frame.index
    return sequences


def with_windows(root: Path, jobs: Sequence["Job"], reach: int) -> list["Job"]:
    """Return the files, each frame with its sequence and a digest of the frames up to ``reach`` away.

    A change of the image size begins a new sequence. Frames that are alone in their sequence get neither.
    """
    of_frames = {job.frame.image: job for job in jobs if job.frame}
    known: dict[str, tuple[str, str]] = {}
    for frames in in_order(job.frame for job in jobs if job.frame):
        for group in _of_one_size(root, [of_frames[frame.image] for frame in frames]) if len(frames) > 1 else ():
            name = hashlib.sha256("\n".join(job.path for job in group).encode("utf-8", "surrogatepass")).hexdigest()
            for place, job in enumerate(group) if len(group) > 1 else ():
                known[job.path] = name, _digest(group[max(0, place - reach) : place + reach + 1])
    found = ((job, *known.get(job.path, ("", ""))) for job in jobs)
    return [replace(job, sequence=sequence, depends=depends) for job, sequence, depends in found]


def _of_one_size(root: Path, group: Iterable["Job"]) -> list[list["Job"]]:
    """Return groups of consecutive frames of one size; an unreadable frame counts as the size before it."""
    groups: list[list[Job]] = []
    before: tuple[int, int] | None = None
    for job in group:
        size = size_of(root / job.path) or before
        if not groups or size != before:
            groups.append([])
        before = size
        groups[-1].append(job)
    return groups


def pieces_of(sequence: list["Job"]) -> list[list["Job"]]:
    """Return a sequence in pieces that several processes can share."""
    return [sequence[first : first + _PIECE] for first in range(0, len(sequence), _PIECE)]


def with_sequences(jobs: Sequence["Job"]) -> list["Job"]:
    """Return the files, each frame with an identifier of its sequence; files to translate must have their frames."""
    of_frames = {job.frame.image: job for job in jobs if job.frame}
    known: dict[str, str] = {}
    for frames in in_order(job.frame for job in jobs if job.frame):
        digest = _digest(of_frames[frame.image] for frame in frames)
        known |= {frame.image: digest for frame in frames}
    return [replace(job, sequence=known.get(job.path, ""), depends=known.get(job.path, "")) for job in jobs]


def sequences_of(jobs: Iterable["Job"]) -> list[list["Job"]]:
    """Return the frames among the files by sequence, each in order; none if each is translated by itself."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.sequence:
            groups.setdefault(job.sequence, []).append(job)
    return [sorted(group, key=_place) for group in groups.values()]


def check_sizes_within(root: Path, who: str, jobs: Iterable["Job"]) -> None:
    """Check that the frames of each sequence have one size.

    Args:
        root: The dataset.
        who: The name of the generator.
        jobs: The files.

    Raises:
        DatasetError: If the frames of a sequence differ in size.
    """
    for group in sequences_of(jobs):
        sizes: dict[tuple[int, int], str] = {}
        for job in group if len(group) > 1 else ():
            if size := size_of(root / job.path):  # None is reported when it is decoded
                sizes.setdefault(size, job.path)
        if len(sizes) > 1:
            sides = ", ".join(f"{path} is {width}x{height}" for (width, height), path in list(sizes.items())[:2])
            raise DatasetError(
                f"{root}: the generator '{who}' looks at several frames of a sequence, but those of one differ in "
                f"size ({sides}); leave out one size with --exclude",
                topic="generators-that-see-labels-or-videos",
            )


def _place(job: "Job") -> tuple[int, str]:
    return (job.frame.index if job.frame else 0), job.path


def _digest(group: Iterable["Job"]) -> str:
    """Return a digest of everything that affects the result of a sequence: paths, sizes, times and label files."""
    facts = [(job.path, job.stat, sorted(job.inputs.items())) for job in group]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
