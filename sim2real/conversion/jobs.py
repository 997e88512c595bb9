"""The files of a conversion: what becomes of each, and whether it is done."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import Final

from sim2real.conversion.carry import mode_of
from sim2real.conversion.embedding import Embedding
from sim2real.conversion.inputs import LabelFile
from sim2real.conversion.manifest import Line, Status, quarantine_path
from sim2real.conversion.resized_files import Resize, Resizer, UnknownError
from sim2real.datasets import Dataset
from sim2real.datasets.base import Frame, Role
from sim2real.datasets.resizing import Size
from sim2real.errors import DatasetError

_SHOWN = 3
_NONE: Final[Mapping[str, LabelFile]] = MappingProxyType({})  # one for all: there may be a million files


@dataclass(frozen=True, slots=True)
class Job:
    """One file that is to be in the converted dataset.

    Attributes:
        path: Where it is, in both.
        role: What it is.
        translate: Whether it is an image to translate.
        stat: :func:`stat_of` it when the plan was made.
        stale: What in it, or in its name, tells the old looks; empty for nothing.
        resize: How it is resized.
        embedding: What becomes of a photo inside of it.
        frame: What it is in the dataset, where the generator sees more of it than the image.
        inputs: The files of the labels that the generator sees, by kind.
        sequence: Tells its sequence where what becomes of a frame depends on others; empty elsewhere.
        depends: A digest of all files of a sequence that decide what becomes of it; empty where it alone does.
    """

    path: str
    role: Role
    translate: bool
    stat: tuple[int, int] | None
    stale: str = ""
    resize: Resize | None = None
    embedding: Embedding | None = None
    frame: Frame | None = None
    inputs: Mapping[str, LabelFile] = field(default_factory=lambda: _NONE)
    sequence: str = ""
    depends: str = ""

    @property
    def follows(self) -> str:
        """The image that has to be there before this file can be written; empty for none."""
        return self.embedding.image if self.embedding else ""

    @property
    def size(self) -> int:
        """Bytes of the source file; 0 if it cannot be read."""
        return self.stat[0] if self.stat else 0

    @property
    def mtime_ns(self) -> int:
        """When it was last changed; 0 if it cannot be read."""
        return self.stat[1] if self.stat else 0

    @property
    def aim(self) -> Status:
        """What the manifest says of it when it is done."""
        if self.translate:
            return "converted"
        return "resized" if self.resize else "edited" if self.embedding else "carried"

    def mode(self, wanted: str) -> str:
        """How it comes over if links are wanted for what does not change."""
        return "copy" if self.resize or self.embedding else mode_of(self.role, wanted)


def with_sizes(jobs: Sequence[Job], dataset: Dataset, target: Size) -> list[Job]:
    """The files of a conversion, each with what becomes of it at another size.

    Raises:
        DatasetError: There are some of which that is not known.
    """
    resizer = Resizer(dataset, target)
    sized, unknown = [], list[tuple[str, str]]()
    for job in jobs:
        try:
            sized.append(replace(job, resize=resizer(job.path, job.role)) if job.stat else job)
        except UnknownError as error:
            unknown.append((job.path, str(error)))
    if unknown:
        named = "; ".join(f"{path}: {why}" for path, why in unknown[:_SHOWN])
        more = f"; and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        message = (
            f"{dataset.root}: --resize cannot bring {len(unknown)} files of this {dataset.name} dataset to "
            f"{target[0]}x{target[1]} ({named}{more}); leave them out with --exclude, or convert without --resize"
        )
        raise DatasetError(message)
    return sized


def seed_of(path: str) -> int:
    """A number for a frame, from its path within the dataset alone: no rerun, batch or shard changes it."""
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8])


def stat_of(path: str | Path) -> tuple[int, int] | None:
    """Size and time of change of a file (bytes, ns); None if there is no file that one could read."""
    try:
        stat = os.stat(path)  # noqa: PTH116  asked of a million files, for which no Path is made
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else None


def is_done(job: Job, lines: Mapping[str, Line], size_of: Callable[[str], int | None]) -> bool:
    """Whether a file is done, by what the manifest says of it.

    Args:
        job: The file.
        lines: What the manifest says, by path.
        size_of: Bytes of a file of the converted dataset, by relative path; None if it is absent.
    """
    line, image = lines.get(job.path), lines.get(job.follows)
    return (
        line is not None
        and (line.status == job.aim or (line.status == "rejected" and job.translate))
        and (line.source_size, line.source_mtime_ns) == job.stat
        and line.resized_from == (job.resize.source if job.resize else None)
        and line.embedded_sha256 == (image.sha256 if image else None)
        and line.inputs_stat == {kind: file.stat for kind, file in job.inputs.items()}
        and line.sequence_sha256 == (job.depends or None)
        and line.size == size_of(job.path)
        and (line.quarantine_size is None or line.quarantine_size == size_of(quarantine_path(job.path)))
    )
