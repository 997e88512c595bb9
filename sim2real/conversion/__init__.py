"""Conversion of a dataset: every camera image is translated, every other file is carried byte for byte.

Other files change only if the images get another size (``--resize``) or hold a translated photo.

options.py            options of a conversion
jobs.py               files of a conversion: what is done with each, and whether it is done
plan.py               the plan of a conversion, made before anything is written
resolved_settings.py  choice of the settings that were left open: engine, precision, tiles ...
trial.py              trial of engines on a frame
inference.py          translation of batches; smaller batches or tiles if memory runs out
inputs.py             labels that the generator sees: where they are and whether they changed
sequences.py          frames that depend on other frames of their sequence, and their order
unrelated.py          whether neighbouring frames show different scenes
windows.py            averaging of grids over neighbouring frames
glimpse.py            translation of single frames as in a conversion
looks.py              several conversions of one dataset with different random samples
duration.py           estimate of the duration
identity.py           check that a rerun is the conversion that was begun
shards.py             several processes that share a conversion
space.py              check of the free disk space
pipeline.py           threads that decode, translate, judge, encode and carry; each file is written whole or not at all
embedding.py          photos inside label files
gate.py               check of each translation, and substitutes for rejected ones
meters.py             measurement of the stage that limits the work
carry.py              copies and links
resized_files.py      files that depend on the size of the images
manifest.py           the record and the manifest of a conversion
verify.py             check that a conversion is complete and its labels are unchanged
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.conversion.carry import stat_of
from sim2real.conversion.jobs import is_done
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
from sim2real.conversion.pipeline import Pipeline
from sim2real.conversion.plan import Plan, make_plan, survey
from sim2real.conversion.shards import active_writers, conversion_lock, is_taken, joins_others
from sim2real.conversion.space import check_space
from sim2real.conversion.verify import Problem, VerifyReport, verify
from sim2real.datasets.base import STATE_FOLDER
from sim2real.devices import peak_memory
from sim2real.errors import CannotCompileError, Sim2RealError
from sim2real.files import LEFTOVER, leftovers_of
from sim2real.inside import inside
from sim2real.progress import Progress, quiet

if TYPE_CHECKING:
    from sim2real.conversion.inference import Inference
    from sim2real.conversion.resolved_settings import Machine
    from sim2real.imageio.nvjpeg import JpegCodecs

__all__ = [
    "ConversionSummary",
    "ConvertOptions",
    "Plan",
    "Problem",
    "Progress",
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
    """The result of one run of a conversion.

    Attributes:
        out: The converted dataset.
        model: The generator file.
        record: The content of conversion.json.
        shard: This process's number, from 0, and the number of processes; None if the work is not shared.
        converted: Number of translated images.
        rejected: Translations that the gate rejected in this run or earlier ones: substitute -> number of images.
        resized: Number of other files that were adapted to the new size of the images.
        edited: Number of label files that changed only in the photo inside them.
        on_gpu: Number of JPEG files that a GPU has ``"decoded"`` and ``"encoded"``.
        carried: Number of files carried byte for byte.
        skipped: Number of files that an earlier run had finished.
        failed: Path and reason of each failed file.
        left: Number of unfinished files of other shards; None if other processes are still running.
        bytes: Bytes written.
        seconds: Duration in seconds.
        peak_memory: Peak memory of this process in bytes, including the GPU's if one was used.
        limit: The stage that limited the speed: ``"decoding"``, ``"translating"``, ``"encoding and writing"``,
            ``"judging"`` (the gate) or ``"carrying"``; empty if too little was done to tell.
        warnings: Warnings about the dataset and the encoding of its images.
    """

    out: Path
    model: Path
    record: Record
    shard: tuple[int, int] | None
    converted: int
    rejected: Mapping[str, int]
    resized: int
    edited: int
    on_gpu: Mapping[str, int]
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
    machine: "Machine | None" = None,
) -> ConversionSummary:
    """Convert a dataset; rerunning an interrupted conversion continues it and gives the same bytes.

    Args:
        source: Folder of the dataset; never written to.
        out: Output folder: new, empty, or holding the same conversion.
        options: Options of the conversion; None for the defaults.
        progress: Called for the stages ``"converting"`` and ``"carrying"``.
        announce: Called with the plan before the work begins.
        notify: Called with a line for each notable event: an engine that is not used, memory that ran out.
        machine: The facts that automatic choices depend on; None: those of this machine.

    Raises:
        Sim2RealError: If the conversion is impossible, or a file fails and ``keep_going`` is not set; finished files
            are kept.
    """
    options = options or ConvertOptions()
    begin = time.monotonic()
    plan = survey(source, out, options)
    try:
        with conversion_lock(out):
            joining = joins_others(out, options.shard)
            plan = make_plan(source, out, options, plan, notify, machine=machine)
            check_space(plan)
            announce(plan)
            if joining:
                _join(plan)
            else:
                plan, inference = _inference(plan, notify)  # may fail, so before anything is deleted
                codecs = _codecs(plan, machine, notify)
                _begin(plan, options)
            manifest = ManifestWriter(part_path(out, options.shard))
        with closing(manifest):
            if joining:
                plan, inference = _inference(plan, notify)
                codecs = _codecs(plan, machine, notify)
            pipeline = Pipeline(
                plan,
                inference,
                manifest,
                workers=options.threads,
                keep_going=options.keep_going,
                progress=progress,
                codecs=codecs,
            )
            tally = pipeline.run()
        left = _leave(plan)
    except OSError as error:
        place = error.filename2 or error.filename or out
        message = (
            f"{place}: {error.strerror or error}; what is finished is kept: fix this (free space, permissions) and "
            "run the same command again"
        )
        raise Sim2RealError(message, topic="interruptions") from error
    return ConversionSummary(
        out=out,
        model=plan.model,
        record=plan.record,
        shard=options.shard,
        converted=tally.done["converted"] + tally.done["rejected"],
        rejected=dict(sorted((plan.rejected + tally.rejected).items())),
        resized=tally.done["resized"],
        edited=tally.done["edited"],
        on_gpu={name: tally.on_gpu[name] for name in ("decoded", "encoded")},
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


def _inference(plan: Plan, notify: Callable[[str], None]) -> "tuple[Plan, Inference | None]":
    """Return the plan, without compilation if that fails, and what translates; None if nothing is to be translated."""
    if not any(job.translate for job in plan.todo):
        return plan, None
    from sim2real.conversion.inference import Inference, without_compilation

    try:
        return plan, Inference(plan, notify)
    except CannotCompileError as error:
        if plan.previous and plan.previous.compile == plan.record.compile:
            message = f"{plan.out}: begun with a compiled generator, but {error}; fix this, or use --overwrite"
            raise Sim2RealError(message) from error
        notify(f"continuing without compilation: {error}")
        plan = without_compilation(plan)
        return plan, Inference(plan, notify)


def _codecs(plan: Plan, machine: "Machine | None", notify: Callable[[str], None]) -> "JpegCodecs | None":
    """Return the JPEG codecs of the GPU if the conversion uses them and anything is to be translated."""
    if plan.record.codecs != "gpu" or not any(job.translate for job in plan.todo):
        return None
    from sim2real.conversion.resolved_settings import THIS_MACHINE

    codecs = (machine or THIS_MACHINE).codecs(plan.device, plan.encoding.quality)
    if plan.record.encoding != "fixed":
        notify(f"the GPU only decodes JPEG files: --encoding {plan.record.encoding} is written by CPUs")
    elif codecs.why_not_encoded:
        notify(f"the GPU only decodes JPEG files: it encodes {codecs.why_not_encoded}")
    return codecs


def _begin(plan: Plan, options: ConvertOptions) -> None:
    """Prepare the folder, in which no other process is working."""
    state = inside(plan.out, STATE_FOLDER)
    stale = [plan.out / path for path in plan.stale]
    for path in [*stale, *(path for path in state.iterdir() if LEFTOVER.fullmatch(path.name))]:
        path.unlink(missing_ok=True)
    if options.overwrite:  # before the record is written: no line may outlive its conversion
        of_all = {manifest_path(plan.out), record_path(plan.out)}  # the others are reports on the earlier conversion
        reports = (path for path in state.iterdir() if path.suffix in {".json", ".csv", ".html"} and path not in of_all)
        for path in [*part_paths(plan.out), manifest_path(plan.out), *reports]:
            path.unlink(missing_ok=True)
    elif plan.changed:
        settle_manifest(plan.out, {job.path for job in plan.jobs}.difference(plan.changed))
    elif part_paths(plan.out):
        settle_manifest(plan.out)
    if plan.record != plan.previous:
        write_record(plan.out, plan.record)
    for folder in plan.folders:
        inside(plan.out, folder).mkdir(parents=True, exist_ok=True)


def _join(plan: Plan) -> None:
    """Start work on a shard while other processes are working.

    Raises:
        Sim2RealError: If the other processes run a different conversion.
    """
    if plan.previous and (changes := plan.previous.differences(plan.record)):
        message = (
            f"{plan.out}: the running processes were started differently ({'; '.join(changes)}); start all with "
            "the same options, and do not change the source meanwhile"
        )
        raise Sim2RealError(message, topic="kills-and-reruns")
    written = {path for job in plan.own for path in (job.path, quarantine_path(job.path))}
    for path in leftovers_of(written, plan.stale):  # of an earlier process with this shard
        (plan.out / path).unlink(missing_ok=True)


def _leave(plan: Plan) -> int | None:
    """Settle the manifest and return how many files of other shards are not done; None if other processes still run."""
    with conversion_lock(plan.out):
        if active_writers(plan.out):
            return None
        if not plan.todo and not plan.elsewhere and is_settled(plan.out, [job.path for job in plan.jobs]):
            if plan.compared:
                os.utime(manifest_path(plan.out))  # the next run need not compare them again
            return 0
        lines = settle_manifest(plan.out, {job.path for job in plan.jobs})

    def size_of(path: str) -> int | None:
        return (stat_of(plan.out / path) or (None,))[0]

    return sum(not is_done(job, lines, size_of) for job in plan.elsewhere)
