"""The files that a conversion writes about itself under ``OUT/.sim2real``.

``conversion.json`` records what is converted, with which model, and all settings; it is written first.
``manifest.jsonl`` has one line per file, written after the file itself is on the disk. Processes that share a
conversion each write their own part, ``manifest.2-of-4.jsonl``, until the last one merges the parts. ``format_version``
in ``conversion.json`` applies to both files.
"""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from sim2real.conversion.embedding import Inside
from sim2real.conversion.gate import Rejected, parse_gate
from sim2real.conversion.options import Carry, CodecsChoice, EncodingChoice, TransferChoice
from sim2real.datasets.base import STATE_FOLDER, Role, Side
from sim2real.errors import SettingsError, Sim2RealError, UnknownNameError
from sim2real.files import LEFTOVER, lock, write_whole
from sim2real.imageio.encoding import Quality
from sim2real.inside import inside, is_link, open_regular, read_regular
from sim2real.model import CameraChoice, Direction
from sim2real.places import is_conversion
from sim2real.registry import registry
from sim2real.stored import (
    FORMAT,
    Count,
    Digest,
    Format,
    MisfitError,
    NewerFormatError,
    Original,
    Place,
    Positive,
    RelativePath,
    Rule,
    Size,
    dumped,
    fit,
    parse_json,
    unknown_fields,
    unknown_fields_text,
)

Status = Literal["converted", "rejected", "resized", "edited", "carried", "failed"]
_QUARANTINE: Final = f"{STATE_FOLDER}/rejected"
_RENAMED: Final = {"aside_size": "quarantine_size", "aside_sha256": "quarantine_sha256"}
_FLUSH_EVERY = 64  # lines, or
_FLUSH_AFTER = 5  # seconds: the work that is lost if the process is killed
_PARSED_AT_ONCE = 1000


def _is_gate(rules: Sequence[str]) -> bool:
    try:
        parse_gate(rules)
    except SettingsError:
        return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What defines a conversion; a rerun into the same folder must match it.

    Attributes:
        tool_version: Version of sim2real.
        source: Absolute path of the dataset.
        dataset: Registered name of its layout.
        direction: ``"sim2real"`` or ``"real2sim"``.
        side: Which images are translated if one folder holds both domains, ``"sim"`` or ``"real"``.
        model_sha256: SHA-256 of the generator file.
        generator: Metadata of the generator file.
        engine: Registered name of the engine.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: Frames per batch of the engine.
        channels_last: Whether fp32 images lie in memory pixel by pixel, which changes results by rounding.
        compile: Sizes [W, H] of frames that the engine is compiled for.
        tile: Side of the tiles in pixels; 0 for no tiles.
        tile_above: Frames with more pixels than this are translated in tiles.
        quality: JPEG quality, if the encoding is ``"fixed"``.
        carry: How unchanged files are carried.
        include: Globs; if given, only files that match one of them are converted or carried.
        exclude: Globs of files to leave out.
        limit: Number of frames after which the others are left out, or None.
        frames: Number of selected images to translate.
        files: Number of selected files, images included.
        gate: Rules that every translation must meet, ``"preservation>=0.9"``.
        rejected: What replaces translations that do not meet them, see :mod:`sim2real.conversion.gate`.
        resize: Size [W, H] that all images are resized to, together with all files that depend on it; None to keep
            sizes.
        as_image: Globs of images that the user declared to be camera images, see :mod:`sim2real.datasets.photos`.
        labelme_image: What is done with photos inside label files, see :data:`sim2real.conversion.embedding.Inside`.
        encoding: How JPEG files are written, see :data:`sim2real.conversion.options.EncodingChoice`.
        codecs: What decodes and encodes JPEG files where it can, ``"cpu"`` or ``"gpu"``.
        codecs_per_second: Frames per second that each of them decoded and encoded, if it was chosen by that.
        transfer: How the output of the generator is applied to the frame.
        transfer_size: Longer side, in pixels, of the shrunk frame that the generator sees if the transfer is guided;
            else 0.
        neighbours: Number of frames before and after a frame of a sequence over which its changes are averaged.
        camera: Whether frames get the blur and noise of the model's camera, ``"match"`` or ``"off"``.
        look: Number of this look, from 0, see :mod:`sim2real.conversion.looks`.
        looks: Total number of looks.
        provenance: What the generator's images depend on besides its file, such as versions of libraries.
        stale: What in a file still describes the old appearance, see :meth:`sim2real.datasets.Dataset.stale` -> number
            of files.
        format_version: Format version of this file and of the manifest.
        original: All fields as read, if another version wrote fields that this version does not know.
    """

    tool_version: str
    source: Place
    dataset: str
    direction: Direction
    side: Side
    model_sha256: Digest
    generator: dict[str, Any]
    engine: str
    device: str
    precision: str
    batch_size: Positive
    compile: list[Size]
    tile: Count
    tile_above: Count
    quality: Quality
    carry: Carry
    include: list[str]
    exclude: list[str]
    limit: Positive | None
    frames: Count
    files: Count
    channels_last: bool = False
    gate: Annotated[list[str], Rule("rules of a gate", _is_gate)] = field(default_factory=list)
    rejected: Rejected = "quarantine"
    resize: Size | None = None
    as_image: list[str] = field(default_factory=list)
    labelme_image: Inside = "keep"
    encoding: EncodingChoice = "fixed"
    codecs: CodecsChoice = "cpu"
    codecs_per_second: dict[str, float] = field(default_factory=dict)
    transfer: TransferChoice = "direct"
    transfer_size: Count = 0
    neighbours: Count = 0
    camera: CameraChoice = "off"
    look: Count = 0
    looks: Positive = 1
    provenance: dict[str, str] = field(default_factory=dict)
    stale: dict[str, Count] = field(default_factory=dict)
    format_version: Format = FORMAT
    original: Original = field(default_factory=dict)

    def differences(self, other: Self, ignored: Collection[str] = ()) -> list[str]:
        """Return how another conversion differs, apart from some fields, e.g. ``["quality was 95, is 80"]``."""
        ours, theirs = asdict(self), asdict(other)
        changed = [name for name in ours if name not in ignored and ours[name] != theirs[name]]
        return [f"{name} was {_short(ours[name])}, is {_short(theirs[name])}" for name in changed]


def _short(value: object) -> str:
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1...", str(value))


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The manifest's entry on one file; sizes in bytes, ``width`` and ``height`` for translated images only.

    Status ``"resized"``: the file was not translated, but adapted to the new size of the images; ``resized_from`` is
    the size of the source images that it describes, ``"1242x375"``, or its own if it is an image. Status ``"edited"``:
    the file changed only in the photo inside it; if that photo, in a resized or an edited file, is now a translated
    one, ``embedded_sha256`` is its digest.

    ``stale`` is what in the file or its name still describes the old appearance. ``original`` holds all fields of the
    line, if another version wrote fields that this version does not know.

    ``decoder`` and ``encoder`` are ``"gpu"`` if a GPU decoded the source image, or encoded the translation.

    If the generator sees labels, each frame has the ``inputs_sha256`` of their files, kind -> digest, with
    ``inputs_size`` and ``inputs_mtime_ns``. If it sees several frames of a sequence, each has a ``sequence_sha256``,
    made from the paths, sizes and modification times of all of them. If changes are averaged over neighbours, it is
    made from those of the frame and its neighbours, and absent if one of them could not be read.

    If there is a gate, each frame also has the ``figures`` of its translation. If these did not meet the rules, it has
    status ``"rejected"``, the ``reason``, and the substitute in ``instead``: ``"source"`` (the original file),
    ``"blend 0.50"``, ``"guided"``, ``"colour"`` or ``"translation"``; ``quarantine_size`` and ``quarantine_sha256``
    describe the translation that is kept at :func:`quarantine_path`.
    """

    path: RelativePath
    role: Role
    status: Status
    reason: str | None = None
    source_size: Count | None = None
    source_mtime_ns: int | None = None
    source_sha256: Digest | None = None
    size: Count | None = None
    sha256: Digest | None = None
    width: Positive | None = None
    height: Positive | None = None
    notes: tuple[str, ...] = ()
    decoder: Literal["gpu"] | None = None
    encoder: Literal["gpu"] | None = None
    figures: Mapping[str, float] | None = None
    instead: str | None = None
    quarantine_size: Count | None = None
    quarantine_sha256: Digest | None = None
    resized_from: str | None = None
    stale: str | None = None
    embedded_sha256: Digest | None = None
    inputs_sha256: Mapping[str, Digest] | None = None
    inputs_size: Mapping[str, Count] | None = None
    inputs_mtime_ns: Mapping[str, int] | None = None
    sequence_sha256: Digest | None = None
    original: Original = field(default_factory=dict)

    @property
    def inputs_stat(self) -> dict[str, tuple[int | None, int | None]]:
        """Size and modification time of the labels that the generator saw, by kind."""
        sizes, times = self.inputs_size or {}, self.inputs_mtime_ns or {}
        return {kind: (sizes.get(kind), times.get(kind)) for kind in self.inputs_sha256 or {}}

    def dump(self) -> str:
        """Return the line of the manifest, without empty fields."""
        values = ((name, getattr(self, name)) for name in _LINE)
        return json.dumps(self.original | {name: value for name, value in values if value not in (None, ())})


_LINE: Final = tuple(each.name for each in fields(Line) if each.name != "original")


def quarantine_path(path: str) -> str:
    """Return where a rejected translation of a frame is kept; both paths are relative to the converted dataset."""
    return f"{_QUARANTINE}/{path}"


def record_path(out: Path) -> Path:
    """Return the path of the record of a conversion."""
    return inside(out, f"{STATE_FOLDER}/conversion.json")


def manifest_path(out: Path) -> Path:
    """Return the path of the manifest of a conversion."""
    return inside(out, f"{STATE_FOLDER}/manifest.jsonl")


def part_path(out: Path, shard: tuple[int, int] | None) -> Path:
    """Return the path of a process's part of the manifest; the whole manifest if the work is not shared."""
    if shard is None:
        return manifest_path(out)
    return inside(out, f"{STATE_FOLDER}/manifest.{shard[0] + 1}-of-{shard[1]}.jsonl")


def part_paths(out: Path) -> list[Path]:
    """Return the parts of a manifest that are not merged yet."""
    found = inside(out, STATE_FOLDER).glob("manifest.*-of-*.jsonl")
    return sorted(inside(out, f"{STATE_FOLDER}/{path.name}") for path in found)


def _upgraded(entry: object) -> object:
    """Return an entry with its present names: quarantined translations were once called ``aside``."""
    if not isinstance(entry, dict):
        return entry
    if entry.get("rejected") == "aside":
        return entry | {"rejected": "quarantine"}
    if _RENAMED.keys().isdisjoint(entry):
        return entry
    return {_RENAMED.get(name, name): value for name, value in entry.items()}


def read_record(out: Path) -> Record | None:
    """Return the record of the conversion in a folder, or None if there is none.

    Raises:
        Sim2RealError: If the record is damaged or has a newer format.
    """
    path = record_path(out)
    try:
        return fit(Record, _upgraded(parse_json(read_regular(path))))
    except FileNotFoundError:
        return None
    except NewerFormatError as error:
        raise Sim2RealError(f"{path}: {error}") from error
    except MisfitError as error:
        message = f"{path}: damaged ({error}); convert into another folder"
        raise Sim2RealError(message) from error


def layout_of(out: Path, record: Record) -> str:
    """Return the registered name of the layout in a record.

    Raises:
        UnknownNameError: If no layout is registered under that name.
    """
    try:
        return registry().entry("datasets", record.dataset).name
    except UnknownNameError as error:
        raise UnknownNameError(f"{record_path(out)}: {error}", topic="a-plugin-fails") from error


def write_record(out: Path, record: Record) -> None:
    """Write the record of a conversion, whole or not at all."""
    write_whole(record_path(out), f"{json.dumps(dumped(record), indent=1)}\n".encode())


def _refuse(damage: str) -> None:
    raise Sim2RealError(f"{damage}; run the same conversion again", topic="verify-finds-problems")


def read_manifest(out: Path, notify: Callable[[str], None] = _refuse) -> dict[str, Line]:
    """Return the last line of each file, by path, including unmerged parts; lines that a crash cut off are skipped.

    Args:
        out: The converted dataset.
        notify: Called with a line for each part that has other damaged lines, which are skipped; by default they are an
            error.

    Raises:
        Sim2RealError: If lines are damaged and ``notify`` is not given.
    """
    parts = {line.path: line for path in part_paths(out) for line in _read(path, notify)}
    lines = {line.path: line for line in _read(manifest_path(out), notify)}  # last: parts may be merged meanwhile
    lines.update(parts)
    return lines


def unknown_to_this_version(out: Path, record: Record | None, lines: Mapping[str, Line]) -> list[str]:
    """Return one line for each file of a conversion with fields that this version does not know."""
    found = []
    if record and (names := unknown_fields(record)):
        found.append(f"{record_path(out)}: {unknown_fields_text(names)}")
    if odd := [line for line in lines.values() if line.original]:
        names = [name for line in odd for name in unknown_fields(line)]
        count = f"{len(odd)} lines have" if len(odd) > 1 else "1 line has"
        found.append(f"{manifest_path(out)}: {unknown_fields_text(names, count)}")
    return found


def _read(path: Path, notify: Callable[[str], None]) -> Iterator[Line]:
    count = 0
    damaged: list[str] = []
    with suppress(FileNotFoundError), open_regular(path) as file:
        while rows := list(islice(file, _PARSED_AT_ONCE)):
            for line in _parse([row for row in rows if row.endswith(b"\n")]):
                count += 1
                if isinstance(line, Line):
                    yield line
                else:
                    damaged.append(f"line {count}: {line}")
    if damaged:
        notify(f"{path}: {len(damaged)} of {count} lines are damaged ({damaged[0]})")


def _parse(rows: list[bytes]) -> Iterator[Line | MisfitError]:
    """Yield the lines, or an error for each damaged row; rows are parsed all at once, which is fast, if possible."""
    entries: list[object] = []
    with suppress(MisfitError):
        entries = parse_json(b"[%s]" % b",".join(rows))
    for number, row in enumerate(rows):
        try:
            entry = entries[number] if len(entries) == len(rows) else parse_json(row)
            yield fit(Line, _upgraded(entry))
        except MisfitError as error:
            yield error


class ManifestWriter:
    """A writer that appends lines for files that are already on the disk, and flushes several lines at a time.

    Args:
        path: The manifest or a part of it; locked while the writer is open, so that others see that it is in use.

    Raises:
        Sim2RealError: If another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        if not lock(self._file):
            self._file.close()
            raise Sim2RealError(f"{path}: another conversion is writing here; wait for it", topic="kills-and-reruns")
        self._waiting: list[str] = []
        self._flushed = time.monotonic()
        self._drop_torn_line()

    def _drop_torn_line(self) -> None:
        size = end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            self._file.seek(start)
            newline = cast("bytes", self._file.read(end - start)).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:  # else the manifest would look newer than what was made of it
            self._file.truncate(end)

    def add(self, line: Line) -> None:
        """Append the line of one file."""
        self._waiting.append(line.dump())
        if len(self._waiting) >= _FLUSH_EVERY or time.monotonic() - self._flushed >= _FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        """Write all pending lines to the disk."""
        data = memoryview("".join(f"{line}\n" for line in self._waiting).encode())
        while data:
            data = data[self._file.write(data) :]
        os.fsync(self._file.fileno())
        self._waiting.clear()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write all pending lines to the disk and close the file."""
        try:
            self.flush()
        finally:
            self._file.close()


def settle_manifest(out: Path, paths: Collection[str] | None = None) -> dict[str, Line]:
    """Merge all parts into the manifest: one line per file, sorted by path.

    Equal conversions thus have equal manifests. A crash at any moment loses nothing, since merging twice gives the same
    result.

    Args:
        out: The converted dataset; no other process may be working in it.
        paths: Paths whose lines are kept; None for all.

    Returns:
        The lines by path.
    """
    lines = read_manifest(out, lambda _damage: None)  # the plan has reported damaged lines
    kept = {path: lines[path] for path in sorted(lines.keys() if paths is None else lines.keys() & paths)}
    write_whole(manifest_path(out), "".join(f"{line.dump()}\n" for line in kept.values()).encode())
    for part in part_paths(out):
        part.unlink()
    return kept


def is_settled(out: Path, paths: Collection[str]) -> bool:
    """Return whether the manifest has exactly one line for each of these paths, sorted by path, and no parts."""
    beginnings = [f'{{"path": {json.dumps(path)}, '.encode() for path in sorted(paths)]
    with manifest_path(out).open("rb") as file:
        rows = zip_longest(file, beginnings, fillvalue=b"")
        return not part_paths(out) and all(begin and row.startswith(begin) for row, begin in rows)


def frame_of(path: str) -> str:
    """Return the path in the manifest of a file or of the quarantined translation of a frame."""
    return path.removeprefix(quarantine_path(""))


def written_at(out: Path) -> int:
    """Return when the manifest or a part of it was last written, in ns; 0 if there is none."""
    times = [0]
    for file in (manifest_path(out), *part_paths(out)):
        with suppress(FileNotFoundError):  # other processes may merge their parts
            times.append(file.stat().st_mtime_ns)
    return max(times)


def contents(out: Path, since: int = 0) -> tuple[dict[str, int], list[str], list[str]]:
    """Return the files of a converted folder with their sizes, the leftovers of killed processes, and newer files.

    All are relative paths. From the state folder only quarantined translations are included. Another conversion into a
    subfolder is left out. A link to a folder counts as a file.

    Args:
        out: The converted dataset.
        since: A time in ns; files that were modified after it are newer.
    """
    files, leftovers, newer = {}, [], []
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(out / folder) as entries:
            for entry in entries:
                path = folder + entry.name
                if entry.is_dir() and not is_link(entry.path):
                    if path == STATE_FOLDER:
                        pending += [f"{_QUARANTINE}/"] if inside(out, _QUARANTINE).is_dir() else []
                    elif not is_conversion(Path(entry.path)):
                        pending.append(f"{path}/")
                elif (is_file := entry.is_file()) or entry.is_symlink():  # broken links too
                    with suppress(FileNotFoundError):  # other processes may delete files
                        stat = entry.stat(follow_symlinks=is_file)
                        files[path] = stat.st_size
                        if stat.st_mtime_ns > since:
                            newer.append(path)
                        if LEFTOVER.fullmatch(entry.name):
                            leftovers.append(path)
    return files, leftovers, newer
