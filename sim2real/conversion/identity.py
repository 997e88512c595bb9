"""Check that a rerun continues the conversion that was begun, even with a patch release or a moved source."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sim2real.conversion.jobs import Job
from sim2real.conversion.manifest import Line, Record
from sim2real.errors import Sim2RealError
from sim2real.files import sha256_of

_READ: Final = 16  # files at most
_NOT_IN_BYTES: Final = (
    "generator",
    "carry",
    "include",
    "exclude",
    "as_image",
    "limit",
    "looks",
    "frames",
    "files",
    "stale",
    "codecs_per_second",
    "original",
)  # fields of the record that the converted bytes do not depend on


def require_same(
    kept: Record,
    record: Record,
    out: Path,
    *,
    jobs: Sequence[Job],
    lines: Mapping[str, Line],
    notify: Callable[[str], None],
) -> None:
    """Check that a conversion may continue in a folder.

    Args:
        kept: The record in the folder.
        record: The new record.
        out: The folder.
        jobs: All selected files.
        lines: The lines of the manifest, by path.
        notify: Called with a line for each harmless difference: a patch version, another path of the same source.

    Raises:
        Sim2RealError: If it would be another conversion; the message says what differs.
    """
    changes = kept.differences(record, (*_NOT_IN_BYTES, "tool_version", "source"))
    before, now = (each.tool_version.split(".")[:2] for each in (kept, record))  # the part that affects the pixels
    if before != now:
        changes.append(f"tool_version was {kept.tool_version}, is {record.tool_version}")
    if kept.source != record.source and (other := _changed_file(Path(record.source), jobs, lines)):
        changes.append(f"source was {kept.source}, is {record.source}; {other}")
    if changes:
        message = (
            f"{out}: converted so far with other settings ({'; '.join(changes)}); repeat those, "
            "name another folder, or convert everything again with --overwrite"
        )
        raise Sim2RealError(message, topic="a-conversion-is-refused")
    if kept.tool_version != record.tool_version:
        notify(f"{out}: converted so far with sim2real {kept.tool_version}, continues with {record.tool_version}")
    if kept.source != record.source:
        notify(f"{out}: converted so far from {kept.source}, continues from {record.source}: the same files")


def _changed_file(source: Path, jobs: Sequence[Job], lines: Mapping[str, Line]) -> str:
    """Return a message if a file has changed since it was converted, else "".

    Sizes and times are compared, and if only times differ, the content of some files.
    """
    done = [(job, line) for job in jobs if (line := lines.get(job.path)) and line.source_sha256]
    others = [(job, line) for job, line in done if (line.source_size, line.source_mtime_ns) != job.stat]
    sizes = [job for job, line in others if job.stat is None or line.source_size != job.size]
    odd = sizes or [job for job, line in others[:: len(others) // _READ + 1] if not _matches(source / job.path, line)]
    return f"{odd[0].path} is not what was converted" if odd else ""


def _matches(path: Path, line: Line) -> bool:
    """Return whether a file has the bytes recorded in a line."""
    try:
        return sha256_of(path) == line.source_sha256
    except OSError:
        return False
