"""Is a conversion that goes on the one that was begun, by whichever version, wherever its source lies now?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sim2real.conversion.jobs import Job
from sim2real.conversion.manifest import Line, Record
from sim2real.errors import Sim2RealError
from sim2real.files import sha256_of

_READ: Final = 16  # files at most


def require_same(
    kept: Record,
    record: Record,
    out: Path,
    *,
    jobs: Sequence[Job],
    lines: Mapping[str, Line],
    notify: Callable[[str], None],
) -> None:
    """Make sure that a conversion may go on in a folder.

    Args:
        kept: What the folder says.
        record: What it is to say.
        out: The folder.
        jobs: All files of the selection.
        lines: What the manifest says, by path.
        notify: Called with a line on what is another one and does no harm: a patch version, the place of the same
            source.

    Raises:
        Sim2RealError: It would be another conversion; the message says what differs.
    """
    changes = kept.differences(record, known_otherwise=("tool_version", "source"))
    if _series(kept) != _series(record):
        changes.append(f"tool_version was {kept.tool_version}, is {record.tool_version}")
    if kept.source != record.source and (other := _unlike(Path(record.source), jobs, lines)):
        changes.append(f"source was {kept.source}, is {record.source}; {other}")
    if changes:
        message = (
            f"{out}: converted so far with other settings ({'; '.join(changes)}); repeat those, "
            "name another folder, or convert all of it anew with --overwrite"
        )
        raise Sim2RealError(message)
    if kept.tool_version != record.tool_version:
        notify(f"{out}: converted so far with sim2real {kept.tool_version}, goes on with {record.tool_version}")
    if kept.source != record.source:
        notify(f"{out}: converted so far from {kept.source}, goes on from {record.source}: the same files")


def _series(record: Record) -> list[str]:
    """What of its version decides the pixels."""
    return record.tool_version.split(".")[:2]


def _unlike(source: Path, jobs: Sequence[Job], lines: Mapping[str, Line]) -> str:
    """Which file is another one than was converted; empty if none is, by sizes and times, or by some files' bytes."""
    done = [(job, line) for job in jobs if (line := lines.get(job.path)) and line.source_sha256]
    others = [(job, line) for job, line in done if (line.source_size, line.source_mtime_ns) != job.stat]
    sizes = [job for job, line in others if job.stat is None or line.source_size != job.size]
    odd = sizes or [job for job, line in others[:: len(others) // _READ + 1] if not _holds(source / job.path, line)]
    return f"{odd[0].path} is not what was converted" if odd else ""


def _holds(path: Path, line: Line) -> bool:
    """Whether a file has the bytes that a line tells."""
    try:
        return sha256_of(path) == line.source_sha256
    except OSError:
        return False
