"""Frames of which what becomes of one depends on others of its sequence.

Where what is done to frames is averaged over neighbours, only these decide: each frame is done, or done again, by
itself. The rest of this is of frames that are translated in order, since the generator looks at several.

A sequence is done as a whole, by one process, and again from its start if any of it is not done or not as it was: so
what a killed conversion ends in is what it would have been. Loose images are sequences of one, and where the indices of
a layout count the frames of a video, a gap begins a new sequence.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_header

_PIECE = 64  # frames

if TYPE_CHECKING:
    from sim2real.conversion.jobs import Job
    from sim2real.datasets.base import Frame


def in_order(frames: Iterable["Frame"]) -> list[list["Frame"]]:
    """Frames of a dataset by sequence, each in its order."""
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
    """The files of a conversion, each frame with what tells its sequence, and which frames up to ``reach`` away it has.

    Frames that are alone in theirs have none; where the size changes a new one begins.
    """
    of_frames = {job.frame.image: job for job in jobs if job.frame}
    told: dict[str, tuple[str, str]] = {}
    for frames in in_order(job.frame for job in jobs if job.frame):
        for group in _of_one_size(root, [of_frames[frame.image] for frame in frames]) if len(frames) > 1 else ():
            name = hashlib.sha256("\n".join(job.path for job in group).encode("utf-8", "surrogatepass")).hexdigest()
            for place, job in enumerate(group) if len(group) > 1 else ():
                told[job.path] = name, _digest(group[max(0, place - reach) : place + reach + 1])
    found = ((job, *told.get(job.path, ("", ""))) for job in jobs)
    return [replace(job, sequence=sequence, depends=depends) for job, sequence, depends in found]


def _of_one_size(root: Path, group: Iterable["Job"]) -> list[list["Job"]]:
    """Those that follow each other and have one size; those that nobody can read are of the size before."""
    groups: list[list[Job]] = []
    before: tuple[int, int] | None = None
    for job in group:
        try:
            header = read_header(root / job.path)
        except ImageError:  # whoever decodes it will say so
            size = before
        else:
            size = header.width, header.height
        if not groups or size != before:
            groups.append([])
        before = size
        groups[-1].append(job)
    return groups


def pieces_of(sequence: list["Job"]) -> list[list["Job"]]:
    """A sequence in pieces that several processes can share."""
    return [sequence[first : first + _PIECE] for first in range(0, len(sequence), _PIECE)]


def with_sequences(jobs: Sequence["Job"]) -> list["Job"]:
    """The files of a conversion, each frame with what tells its sequence; those to translate know their frames."""
    of_frames = {job.frame.image: job for job in jobs if job.frame}
    told: dict[str, str] = {}
    for frames in in_order(job.frame for job in jobs if job.frame):
        digest = _digest(of_frames[frame.image] for frame in frames)
        told |= {frame.image: digest for frame in frames}
    return [replace(job, sequence=told.get(job.path, ""), depends=told.get(job.path, "")) for job in jobs]


def sequences_of(jobs: Iterable["Job"]) -> list[list["Job"]]:
    """The frames among the files by sequence, each in its order; none where each is translated by itself."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.sequence:
            groups.setdefault(job.sequence, []).append(job)
    return [sorted(group, key=_place) for group in groups.values()]


def check_sizes_within(root: Path, who: str, jobs: Iterable["Job"]) -> None:
    """Make sure that the frames of a sequence have one size.

    Args:
        root: The dataset.
        who: The name of the generator.
        jobs: The files.

    Raises:
        DatasetError: Those of one have several.
    """
    for group in sequences_of(jobs):
        sizes: dict[tuple[int, int], str] = {}
        for job in group if len(group) > 1 else ():
            try:
                header = read_header(root / job.path)
            except ImageError:  # whoever decodes it will say so
                continue
            sizes.setdefault((header.width, header.height), job.path)
        if len(sizes) > 1:
            told = ", ".join(f"{path} is {width}x{height}" for (width, height), path in list(sizes.items())[:2])
            raise DatasetError(
                f"{root}: the generator '{who}' looks at several frames of a sequence, and those of one have several "
                f"sizes ({told}); leave out one kind with --exclude"
            )


def _place(job: "Job") -> tuple[int, str]:
    return (job.frame.index if job.frame else 0), job.path


def _digest(group: Iterable["Job"]) -> str:
    """Of all that decides what becomes of a sequence: another frame, or another byte in one, and it is another."""
    told = [(job.path, job.stat, sorted(job.inputs.items())) for job in group]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
