"""The files of a conversion: what is done with each, and whether it is done."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from sim2real.conversion.carry import Stat, mode_of
from sim2real.conversion.embedding import Embedding
from sim2real.conversion.inputs import LabelFile
from sim2real.conversion.manifest import Line, Status, quarantine_path
from sim2real.conversion.resized_files import Resize, Resizer, UnknownError
from sim2real.datasets import Dataset
from sim2real.datasets.base import Frame, Role
from sim2real.datasets.resizing import Size
from sim2real.errors import DatasetError

_SHOWN = 3
_NONE: Final[Mapping[str, LabelFile]] = MappingProxyType({})  # shared, as there may be a million files


@dataclass(frozen=True, slots=True)
class Job:
    """A file of the converted dataset.

    Attributes:
        path: Its path in both datasets.
        role: Its role.
        translate: Whether it is an image to translate.
        stat: Result of :func:`sim2real.conversion.carry.stat_of` when the plan was made.
        stale: What in the file or its name still describes the old appearance; empty for nothing.
        resize: How it is resized.
        embedding: How a photo inside it is changed.
        frame: Its frame in the dataset, if the generator sees more of it than the image.
        inputs: The label files that the generator sees, by kind.
        sequence: Identifier of its sequence, if its result depends on other frames; else empty.
        depends: A digest of all files of the sequence that affect its result; empty if only the frame itself does.
    """

    path: str
    role: Role
    translate: bool
    stat: Stat
    stale: str = ""
    resize: Resize | None = None
    embedding: Embedding | None = None
    frame: Frame | None = None
    inputs: Mapping[str, LabelFile] = field(default_factory=lambda: _NONE)
    sequence: str = ""
    depends: str = ""

    @property
    def follows(self) -> str:
        """The image that must be written before this file; empty for none."""
        return self.embedding.image if self.embedding else ""

    @property
    def sequence_name(self) -> str:
        """The name of its sequence in the dataset; empty if it has none, or the generator sees only the image."""
        return self.frame.sequence if self.frame else ""

    @property
    def size(self) -> int:
        """Size of the source file in bytes; 0 if it cannot be read."""
        return self.stat[0] if self.stat else 0

    @property
    def mtime_ns(self) -> int:
        """Modification time of the source file in ns; 0 if it cannot be read."""
        return self.stat[1] if self.stat else 0

    @property
    def aim(self) -> Status:
        """The status in the manifest when the file is done."""
        if self.translate:
            return "converted"
        return "resized" if self.resize else "edited" if self.embedding else "carried"

    def mode(self, wanted: str) -> str:
        """Return how the file is carried if ``wanted`` is requested for unchanged files."""
        return "copy" if self.resize or self.embedding else mode_of(self.role, wanted)


def with_sizes(jobs: Sequence[Job], dataset: Dataset, target: Size) -> list[Job]:
    """Return the files of a conversion with the rule by which each is resized.

    Raises:
        DatasetError: If there is no rule for some files.
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
            f"{dataset.root}: --resize cannot resize {len(unknown)} files of this {dataset.name} dataset to "
            f"{target[0]}x{target[1]} ({named}{more}); leave them out with --exclude, or convert without --resize"
        )
        raise DatasetError(message, topic="another-size")
    return sized


def seed_of(path: str) -> int:
    """Return a seed for a frame, from its path within the dataset alone.

    Reruns, batches and shards do not change it.
    """
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8])


def is_done(job: Job, lines: Mapping[str, Line], size_of: Callable[[str], int | None]) -> bool:
    """Return whether a file is done according to the manifest.

    Args:
        job: The file.
        lines: The lines of the manifest, by path.
        size_of: Returns the size in bytes of a file of the converted dataset, by relative path; None if it is missing.
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
