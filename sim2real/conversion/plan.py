"""What a conversion will do, found out before anything is written."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import Literal, TypeVar

from sim2real import __version__
from sim2real.conversion.carry import mode_of
from sim2real.conversion.choices import choose
from sim2real.conversion.gate import Rejected, Rule, parse_gate
from sim2real.conversion.manifest import (
    Line,
    Record,
    Status,
    aside,
    contents,
    manifest_path,
    read_manifest,
    read_record,
    record_path,
)
from sim2real.conversion.resizing import Resize, untold_intrinsics, with_sizes
from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import STATE_FOLDER, Role
from sim2real.devices import usable_cores
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.files import sha256_of
from sim2real.model import GeneratorInfo, find_model, read_info

T = TypeVar("T")
Carry = Literal["copy", "hardlink", "symlink"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """What the user may say about a conversion; the defaults convert everything.

    Attributes:
        model: Run folder or generator file; None for the newest run.
        runs: Folder of the runs.
        direction: ``"sim2real"`` or ``"real2sim"``; None for what the model does, sim2real for a run.
        dataset: Registered layout of the source; None to recognise it.
        include: Globs of paths; if there are any, only files that fit one, of whatever role, are converted or carried.
        exclude: Globs of paths that are left out.
        limit: Translate only so many frames, the first ones, and leave out the images of the others.
        carry: ``"copy"``, ``"hardlink"`` or ``"symlink"`` for all files but those that change.
        resize: Bring images to this size (W, H) in pixels, and with them all that depends on it; None: as they are.
        quality: Of JPEG, 1 to 100.
        batch_size: Frames at once; None for what suits the device.
        engine: Registered engine; ``"auto"`` is the fastest that makes torch's picture.
        device: See ``sim2real.devices``.
        precision: See ``sim2real.devices``.
        tile: ``"auto"``: frames that memory does not suffice for are translated in tiles; ``"off"``: none; or the side
            of the tiles in pixels, for all frames.
        share: This process's number, from 0, and how many processes share the work; None for a process of its own.
        workers: Threads that decode and encode, and as many that carry; None for what suits the machine.
        overwrite: Convert anew what an earlier conversion left in the folder.
        keep_going: Go on after a file that cannot be converted or carried.
        gate: What every translation must fulfil, see :func:`sim2real.conversion.gate.parse_gate`; nothing if empty.
        rejected: What becomes of those that do not, see :data:`sim2real.conversion.gate.Rejected`.
    """

    model: Path | None = None
    runs: Path = Path("runs")
    direction: str | None = None
    dataset: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    carry: Carry = "copy"
    resize: tuple[int, int] | None = None
    quality: int = 95
    batch_size: int | None = None
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tile: str = "auto"
    share: tuple[int, int] | None = None
    workers: int | None = None
    overwrite: bool = False
    keep_going: bool = False
    gate: tuple[str, ...] = ()
    rejected: Rejected = "aside"

    @property
    def threads(self) -> int:
        """How many threads decode and encode, and as many carry."""
        return self.workers or min(usable_cores(), 16)


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
    """

    path: str
    role: Role
    translate: bool
    stat: tuple[int, int] | None
    stale: str = ""
    resize: Resize | None = None

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
        return "converted" if self.translate else "resized" if self.resize else "carried"

    def mode(self, wanted: str) -> str:
        """How it comes over if links are wanted for what does not change."""
        return "copy" if self.resize else mode_of(self.role, wanted)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a conversion that is known before it begins.

    Attributes:
        source: The dataset.
        out: Where it goes.
        model: The generator file.
        device: The very device, ``record.device`` being its kind.
        record: What conversion.json will say.
        previous: What it says now, None where there is none.
        jobs: All files of the selection.
        own: Those of this process's share; all of them if it has none.
        todo: Those of its own that are not done yet.
        elsewhere: Those of other shares that were not done yet when the plan was made.
        rejected: Of its own images that are done, those that the gate rejected: what is there instead -> how many.
        folders: Folders to create, empty ones among them.
        stale: Files in ``out`` that must go: leftovers of killed writers, what an overwritten conversion made, and what
            the gate put aside of frames that are not done.
        warnings: What the user should know of the dataset.
    """

    source: Path
    out: Path
    model: Path
    device: str
    record: Record
    previous: Record | None
    jobs: list[Job]
    own: list[Job]
    todo: list[Job]
    elsewhere: list[Job]
    rejected: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def spread(self, count: int) -> list[Path]:
        """So many of the images to translate, evenly spread over all of them."""
        images = [job.path for job in self.jobs if job.translate]
        return [self.source / path for path in evenly(images, count)]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is to convert and with what, however far an earlier conversion came: the slow part of a plan.

    Attributes:
        model: The generator file.
        info: What it says about itself.
        dataset: The dataset.
        jobs: All files of the selection.
        gate: What every translation must fulfil.
    """

    model: Path
    info: GeneratorInfo
    dataset: Dataset
    jobs: list[Job]
    gate: tuple[Rule, ...]


def survey(source: Path, out: Path, options: ConvertOptions) -> Survey:
    """Look at the source; writes nothing.

    Raises:
        Sim2RealError: It cannot be converted so; the message says what to change.
    """
    check_places(source, out)
    gate = parse_gate(options.gate)
    if options.share and options.overwrite:
        message = (
            f"{out}: of processes that share a conversion, one that comes late would overwrite what others have done: "
            "no --overwrite with shares; remove the folder, or name another"
        )
        raise Sim2RealError(message)
    model = find_model(options.model, options.direction, options.runs)
    info = read_info(model)
    dataset = open_dataset(source, options.dataset)
    selection = select(dataset, side_of(info), options.include, options.exclude, options.limit)
    stale = {path: what for what, paths in dataset.stale().items() for path in paths}
    jobs = [
        Job(path, role, translate, stat_of(f"{source}/{path}"), stale.get(path, ""))
        for path, role, translate in selection
    ]
    if options.resize:
        jobs = with_sizes(jobs, dataset, options.resize)
    return Survey(model=model, info=info, dataset=dataset, jobs=jobs, gate=gate)


def make_plan(
    source: Path,
    out: Path,
    options: ConvertOptions,
    found: Survey | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Plan:
    """Find out what is to be done; writes nothing.

    Args:
        source: The dataset.
        out: Where it goes.
        options: What the user says.
        found: The ``survey`` of it, if that has been made.
        tell: Told in a line what the user would wonder at.

    Raises:
        Sim2RealError: It cannot be done; the message says what to change.
    """
    found = found or survey(source, out, options)
    model, info, dataset, jobs = found.model, found.info, found.dataset, found.jobs
    previous = read_record(out)
    kept = None if options.overwrite else previous
    device, choices = choose(options, kept, model, [source / job.path for job in jobs if job.translate], tell)
    record = Record(
        tool_version=__version__,
        source=str(source.resolve()),
        dataset=dataset.name,
        direction=info.direction,
        side=side_of(info),
        model_sha256=sha256_of(model),
        generator=json.loads(json.dumps(asdict(info))),  # as it will be read back
        quality=options.quality,
        carry=options.carry,
        resize=list(options.resize) if options.resize else None,
        include=list(options.include),
        exclude=list(options.exclude),
        limit=options.limit,
        frames=sum(job.translate for job in jobs),
        files=len(jobs),
        gate=[str(rule) for rule in found.gate],
        rejected=options.rejected if found.gate else "aside",
        stale=dict(Counter(job.stale for job in jobs if job.stale)),
        **choices,
    )
    if kept and (changes := kept.differences(record)):
        message = (
            f"{out}: converted so far with other settings ({'; '.join(changes)}); repeat those, "
            "name another folder, or convert all of it anew with --overwrite"
        )
        raise Sim2RealError(message)
    present, leftovers = contents(out) if previous else ({}, [])
    lines = read_manifest(out) if previous else {}
    paths = {job.path for job in jobs}
    orphans = sorted(present.keys() & lines.keys() - paths)
    if orphans and not options.overwrite:
        message = (
            f"{out}: holds {len(orphans)} files that this conversion does not make ({orphans[0]} ...): gone from the "
            "source, or not selected now; name another folder, or convert all of it anew with --overwrite"
        )
        raise Sim2RealError(message)
    known = {} if options.overwrite else lines
    undone = [job for job in jobs if not is_done(job, known.get(job.path), present.get)]
    done = known.keys() & paths - {job.path for job in undone}
    kept_aside = {aside(path) for path in done if known[path].aside_sha256}
    stale = {path for path in present if path.startswith(aside("")) and path not in kept_aside}
    own = _own(jobs, options.share)
    here = {job.path for job in own}
    return Plan(
        source=source,
        out=out,
        model=model,
        device=device,
        record=record,
        previous=previous,
        jobs=jobs,
        own=own,
        todo=[job for job in undone if job.path in here],
        elsewhere=[job for job in undone if job.path not in here],
        rejected=Counter(name for path in done & here if (name := known[path].instead)),
        folders=[] if options.include or options.exclude else list(dataset.tree.folders),
        stale=sorted({*orphans, *stale, *leftovers} - paths),
        warnings=[*dataset.warnings(), *untold_intrinsics(jobs, dataset)],
    )


def side_of(info: GeneratorInfo) -> str:
    """Which images a generator translates where one folder holds both domains, ``"sim"`` or ``"real"``."""
    swapped = bool(info.settings.get("swap"))  # trained with B as the simulation
    return "sim" if (info.direction == "sim2real") != swapped else "real"


def spread_frames(source: Path, layout: str | None, info: GeneratorInfo, count: int) -> list[Path]:
    """Images of so many frames, evenly spread over those of a dataset that a generator translates.

    Raises:
        DatasetError: There is no such frame.
    """
    dataset = open_dataset(source, layout)
    images = [path for path, _, translate in select(dataset, side_of(info), (), (), None) if translate]
    return [source / image for image in evenly(images, count)]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """So many of the items, or all, evenly spread."""
    count = min(count, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def select(
    dataset: Dataset, side: str, include: Sequence[str], exclude: Sequence[str], limit: int | None
) -> Iterator[tuple[str, Role, bool]]:
    """The files of a dataset that a conversion makes: path, role, and whether it is translated.

    In a folder with both domains only the images of ``side`` are translated. What is neither file nor folder (a link to
    nowhere) is among the files, so that nobody takes it for carried.

    Raises:
        DatasetError: There is no frame to translate.
    """
    frames = [frame.image for frame in dataset.frames(include, exclude) if frame.side in (None, side)]
    if not frames:
        everything = sum(frame.side in (None, side) for frame in dataset.frames())
        hint = f"--include and --exclude leave none of its {everything} frames" if everything else f"no {side} images"
        message = f"{dataset.root}: {hint} in this {dataset.name} dataset; `sim2real inspect` shows what is there"
        raise DatasetError(message)
    chosen, others = set(frames[:limit]), set(frames[limit:] if limit is not None else ())
    for path, role in [*dataset.files(), *((path, Role.AUX) for path in dataset.tree.broken)]:
        if path not in others and selected(path, include, exclude):
            yield path, role, path in chosen


def selected(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path fits one of the included globs, if there are any, and none of the excluded; ``*`` fits slashes."""
    return any(fnmatchcase(path, glob) for glob in include or "*") and not any(
        fnmatchcase(path, glob) for glob in exclude
    )


def stat_of(path: str | Path) -> tuple[int, int] | None:
    """Size and time of change of a file (bytes, ns); None if there is no file that one could read."""
    try:
        stat = os.stat(path)  # noqa: PTH116  asked of a million files, for which no Path is made
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else None


def is_done(job: Job, line: Line | None, size_of: Callable[[str], int | None]) -> bool:
    """Whether a file is done, by what the manifest says of it.

    Args:
        job: The file.
        line: What the manifest says.
        size_of: Bytes of a file of the converted dataset, by relative path; None if it is absent.
    """
    return (
        line is not None
        and (line.status == job.aim or (line.status == "rejected" and job.translate))
        and (line.source_size, line.source_mtime_ns) == job.stat
        and line.resized_from == (job.resize.source if job.resize else None)
        and line.size == size_of(job.path)
        and (line.aside_size is None or line.aside_size == size_of(aside(job.path)))
    )


def _own(jobs: list[Job], share: tuple[int, int] | None) -> list[Job]:
    """Every so many-th image and every so many-th other file: what is done already changes nothing about it."""
    index, count = share or (0, 1)
    kinds = ([job for job in jobs if job.translate], [job for job in jobs if not job.translate])
    return [job for kind in kinds for job in kind[index::count]]


def check_places(source: Path, out: Path) -> None:
    """Make sure that a dataset can be converted from one folder into the other.

    Raises:
        Sim2RealError: It cannot; the message says what to name instead.
    """
    if not source.is_dir():
        message = f"{source}: {'not a folder' if source.exists() else 'no such folder'}; name the folder of a dataset"
        raise DatasetError(message)
    if out.exists() and not out.is_dir():
        message = f"{out}: a file; name a new or empty folder to convert into"
        raise Sim2RealError(message)
    inner, outer = out.resolve(), source.resolve()
    if _within(inner, outer) or _within(outer, inner):
        message = f"{out} and {source}: one is inside the other or they are the same; name a folder beside the source"
        raise Sim2RealError(message)
    known = record_path(out).is_file() or manifest_path(out).is_file()  # others, too, leave findings in STATE_FOLDER
    if out.is_dir() and not known and any(path.name != STATE_FOLDER for path in out.iterdir()):
        message = f"{out}: not empty, and no conversion of sim2real; name a new or empty folder to convert into"
        raise Sim2RealError(message)


def _within(inner: Path, outer: Path) -> bool:
    """Whether a folder is another or inside it, under whatever name."""
    return outer.exists() and any(folder.exists() and folder.samefile(outer) for folder in (inner, *inner.parents))
