"""A dataset in, a converted dataset out: every camera image translated, everything else carried byte for byte.

Only if another size is asked for, what depends on the size of the images changes with them.

options.py   what may be said about it
jobs.py      what becomes of each file, and whether it is done
plan.py      what is to be done, before anything is written
resolved_settings.py  what the user left open: engine, precision, tiles ...
trial.py     engines tried on a frame
inference.py the generator at work, and what is done when memory falls short
inputs.py    labels that the generator sees: are they there, what are they, did they change?
sequences.py frames that depend on others of their sequence: which, in which order
windows.py   frames whose grids are averaged over their neighbours
glimpse.py   single frames, translated as in a conversion
looks.py     several conversions of one dataset, sampled anew
duration.py  how long will it take?
identity.py  is it the conversion that was begun?
shards.py    several processes at the work: who does what, who is there
space.py     is there room for it on the disk?
pipeline.py  decode, translate, judge, encode, carry: threads, each file whole or not at all
embedding.py photos inside of label files: what becomes of them
gate.py      is a translation good enough, and what takes its place if it is not?
meters.py    which stage limits the work
carry.py     copies and links
resized_files.py  what becomes of each file if the images get another size
manifest.py  what a conversion writes about itself
verify.py    is a conversion complete and are its labels untouched?
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.conversion.jobs import is_done, stat_of
from sim2real.conversion.manifest import (
    ManifestWriter,
    Record,
    is_settled,
    manifest_path,
    part_path,
    part_paths,
    quarantine_path,
    record_path,
    settle_manifest,
    write_record,
)
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.pipeline import Pipeline, Progress, Tally, quiet
from sim2real.conversion.plan import Plan, Survey, make_plan, survey
from sim2real.conversion.shards import active_writers, conversion_lock, is_taken, joins_others
from sim2real.conversion.space import check_space
from sim2real.conversion.verify import Problem, VerifyReport, verify
from sim2real.datasets.base import STATE_FOLDER
from sim2real.devices import peak_memory
from sim2real.errors import CannotCompileError, Sim2RealError
from sim2real.files import LEFTOVER, leftovers_of
from sim2real.inside import inside

if TYPE_CHECKING:
    from sim2real.conversion.inference import Inference

__all__ = [
    "ConversionSummary",
    "ConvertOptions",
    "Plan",
    "Problem",
    "Progress",
    "Survey",
    "VerifyReport",
    "convert",
    "is_taken",
    "make_plan",
    "quiet",
    "survey",
    "verify",
]


@dataclass(frozen=True, kw_only=True)
class ConversionSummary:
    """What a conversion did in this run.

    Attributes:
        out: The converted dataset.
        model: The generator file.
        record: What conversion.json says.
        shard: This process's number, from 0, and how many share the work; None for a process of its own.
        converted: Images translated.
        rejected: Of those and of what earlier runs translated, what the gate rejected: what is there instead -> how
            many.
        resized: Other files brought to the new size of the images.
        carried: Files carried byte for byte.
        skipped: Files that an earlier run had done.
        failed: Path and reason of every file that could not be done.
        left: Files of other shards that are not done; None if other processes are still at work.
        bytes: Bytes written.
        seconds: Time taken.
        peak_memory: The most bytes that this process has held so far, on the GPU too if it was used.
        limit: What the work waited for most: ``"decoding"``, ``"translating"``, ``"encoding and writing"``,
            ``"judging"`` (the gate), ``"carrying"``; empty if it was too little to tell.
        warnings: What the user should know, of the dataset and of the way its images are stored.
    """

    out: Path
    model: Path
    record: Record
    shard: tuple[int, int] | None
    converted: int
    rejected: Mapping[str, int]
    resized: int
    edited: int
    carried: int
    skipped: int
    failed: list[tuple[str, str]]
    left: int | None
    bytes: int
    seconds: float
    peak_memory: int
    limit: str
    warnings: list[str]


def convert(
    source: Path,
    out: Path,
    options: ConvertOptions | None = None,
    progress: Progress = quiet,
    *,
    announce: Callable[[Plan], None] = lambda _plan: None,
    notify: Callable[[str], None] = lambda _line: None,
) -> ConversionSummary:
    """Convert a dataset. A rerun of an interrupted conversion continues it and ends in the same bytes.

    Args:
        source: Folder of the dataset; never written to.
        out: Folder to convert into: new, empty, or of the same conversion.
        options: What to do otherwise than by default.
        progress: Told of the stages ``"converting"`` and ``"carrying"``.
        announce: Told what is going to be done, before it is.
        notify: Called with a line on what the user would wonder at: engines not used, memory that fell short.

    Raises:
        Sim2RealError: It cannot be done, or a file cannot be and ``keep_going`` is not set; what is finished is kept.
    """
    options = options or ConvertOptions()
    begin = time.monotonic()
    found = survey(source, out, options)
    try:
        plan, tally = _work(source, out, options, found, progress=progress, announce=announce, notify=notify)
        left = _leave(plan)
    except OSError as error:
        place = error.filename2 or error.filename or out
        message = (
            f"{place}: {error.strerror or error}; what is finished is kept: mend that (free space, permissions) and "
            "run the same command again"
        )
        raise Sim2RealError(message) from error
    return ConversionSummary(
        out=out,
        model=plan.model,
        record=plan.record,
        shard=options.shard,
        converted=tally.done["converted"] + tally.done["rejected"],
        rejected=dict(sorted((plan.rejected + tally.rejected).items())),
        resized=tally.done["resized"],
        edited=tally.done["edited"],
        carried=tally.done["carried"],
        skipped=len(plan.own) - len(plan.todo),
        failed=sorted(tally.failed),
        left=left,
        bytes=tally.bytes,
        seconds=time.monotonic() - begin,
        peak_memory=peak_memory(plan.device),
        limit=tally.limit,
        warnings=[*plan.warnings, *(f"{note} ({count} images)" for note, count in sorted(tally.notes.items()))],
    )


def _work(
    source: Path,
    out: Path,
    options: ConvertOptions,
    found: Survey,
    *,
    progress: Progress,
    announce: Callable[[Plan], None],
    notify: Callable[[str], None],
) -> tuple[Plan, Tally]:
    with conversion_lock(out):
        joining = joins_others(out, options.shard)
        plan = make_plan(source, out, options, found, notify)
        check_space(plan)
        announce(plan)
        if joining:
            _join(plan)
        else:
            plan, inference = _inference(plan, notify)  # first: what cannot begin leaves an earlier conversion as it is
            _begin(plan, options)
        manifest = ManifestWriter(part_path(out, options.shard))
    try:
        if joining:
            plan, inference = _inference(plan, notify)
        pipeline = Pipeline(
            plan,
            inference,
            manifest,
            workers=options.threads,
            keep_going=options.keep_going,
            progress=progress,
        )
        return plan, pipeline.run()
    finally:
        manifest.close()


def _inference(plan: Plan, notify: Callable[[str], None]) -> "tuple[Plan, Inference | None]":
    """What translates, None if there is nothing to translate, and the plan as it can be followed here."""
    if not any(job.translate for job in plan.todo):
        return plan, None
    from sim2real.conversion.inference import Inference, without_compilation

    try:
        return plan, Inference(plan, notify)
    except CannotCompileError as error:
        if plan.previous and plan.previous.compile == plan.record.compile:
            message = f"{plan.out}: begun with a compiled generator, and {error}; mend that, or use --overwrite"
            raise Sim2RealError(message) from error
        notify(f"going on without compilation: {error}")
        plan = without_compilation(plan)
        return plan, Inference(plan, notify)


def _begin(plan: Plan, options: ConvertOptions) -> None:
    """Prepare the folder, where nobody is at work."""
    state = inside(plan.out, STATE_FOLDER)
    stale = [plan.out / path for path in plan.stale]
    for path in [*stale, *(path for path in state.iterdir() if LEFTOVER.fullmatch(path.name))]:
        path.unlink(missing_ok=True)
    if options.overwrite:  # before the record: no line may outlive its conversion
        of_all = {manifest_path(plan.out), record_path(plan.out)}  # the others tell of the earlier conversion alone
        reports = (path for path in state.iterdir() if path.suffix in {".json", ".csv", ".html"} and path not in of_all)
        for path in [*part_paths(plan.out), manifest_path(plan.out), *reports]:
            path.unlink(missing_ok=True)
    elif part_paths(plan.out):
        settle_manifest(plan.out)
    if plan.record != plan.previous:
        write_record(plan.out, plan.record)
    for folder in plan.folders:
        inside(plan.out, folder).mkdir(parents=True, exist_ok=True)


def _join(plan: Plan) -> None:
    """Take up a shard beside others that are at work.

    Raises:
        Sim2RealError: Theirs is another conversion.
    """
    if plan.previous and (changes := plan.previous.differences(plan.record, free=())):
        message = (
            f"{plan.out}: the processes at work here began otherwise ({'; '.join(changes)}); begin all of them with "
            "the same options, and leave the source alone meanwhile"
        )
        raise Sim2RealError(message)
    written = {path for job in plan.own for path in (job.path, quarantine_path(job.path))}
    for path in leftovers_of(written, plan.stale):  # of an earlier bearer of this shard
        (plan.out / path).unlink(missing_ok=True)


def _leave(plan: Plan) -> int | None:
    """Settle the manifest if nobody else is at work; then returns how many files of other shards are not done."""
    with conversion_lock(plan.out):
        if active_writers(plan.out):
            return None
        if not plan.todo and not plan.elsewhere and is_settled(plan.out, [job.path for job in plan.jobs]):
            return 0
        lines = settle_manifest(plan.out, {job.path for job in plan.jobs})

    def size_of(path: str) -> int | None:
        return (stat_of(plan.out / path) or (None,))[0]

    return sum(not is_done(job, lines, size_of) for job in plan.elsewhere)
