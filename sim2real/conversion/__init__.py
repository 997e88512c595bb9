"""A dataset in, a converted dataset out: every camera image translated, everything else carried byte for byte.

plan.py      what is to be done, and every choice, before anything is written
pipeline.py  decode, translate, encode, carry: threads, each file whole or not at all
manifest.py  what a conversion writes about itself
verify.py    is a conversion complete and are its labels untouched?
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sim2real.conversion.inference import Inference
from sim2real.conversion.manifest import (
    ManifestWriter,
    Record,
    locked,
    manifest_path,
    read_record,
    settle_manifest,
    write_record,
)
from sim2real.conversion.pipeline import Pipeline, Progress, Tally, quiet
from sim2real.conversion.plan import ConvertOptions, Plan, make_plan
from sim2real.conversion.verify import Problem, VerifyReport, verify
from sim2real.errors import Sim2RealError

__all__ = [
    "ConversionSummary",
    "ConvertOptions",
    "Plan",
    "Problem",
    "Progress",
    "VerifyReport",
    "convert",
    "make_plan",
    "quiet",
    "verify",
]


@dataclass(frozen=True, kw_only=True)
class ConversionSummary:
    """What a conversion did in this run.

    Attributes:
        out: The converted dataset.
        model: The generator file.
        record: What conversion.json says.
        converted: Images translated.
        carried: Files carried byte for byte.
        skipped: Files that an earlier run had done.
        failed: Path and reason of every file that could not be done.
        bytes: Bytes written.
        seconds: Time taken.
        warnings: What the user should know, of the dataset and of the way its images are stored.
    """

    out: Path
    model: Path
    record: Record
    converted: int
    carried: int
    skipped: int
    failed: list[tuple[str, str]]
    bytes: int
    seconds: float
    warnings: list[str]


def convert(
    source: Path, out: Path, options: ConvertOptions | None = None, progress: Progress = quiet
) -> ConversionSummary:
    """Convert a dataset. A rerun of an interrupted conversion continues it and ends in the same bytes.

    Args:
        source: Folder of the dataset; never written to.
        out: Folder to convert into: new, empty, or of the same conversion.
        options: What to do otherwise than by default.
        progress: Told of the stages ``"converting"`` and ``"carrying"``.

    Raises:
        Sim2RealError: It cannot be done, or a file cannot be and ``keep_going`` is not set; what is finished is kept.
    """
    options = options or ConvertOptions()
    begin = time.monotonic()
    plan = make_plan(source, out, options)
    try:
        with locked(out):
            if read_record(out) != plan.previous:
                message = (
                    f"{out}: another conversion began here a moment ago; run the command again to see how it differs"
                )
                raise Sim2RealError(message)
            tally = _carry_out(plan, options, progress)
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
        converted=tally.done["converted"],
        carried=tally.done["carried"],
        skipped=len(plan.jobs) - len(plan.todo),
        failed=sorted(tally.failed),
        bytes=tally.bytes,
        seconds=time.monotonic() - begin,
        warnings=[*plan.warnings, *(f"{note} ({count} images)" for note, count in sorted(tally.notes.items()))],
    )


def _carry_out(plan: Plan, options: ConvertOptions, progress: Progress) -> Tally:
    inference = Inference(plan)  # first: a model that cannot be used leaves an earlier conversion as it is
    for path in plan.stale:
        (plan.out / path).unlink(missing_ok=True)
    if options.overwrite:
        manifest_path(plan.out).unlink(missing_ok=True)  # before the record: no line may outlive its conversion
    if plan.record != plan.previous:
        write_record(plan.out, plan.record)
    for folder in plan.folders:
        (plan.out / folder).mkdir(parents=True, exist_ok=True)
    manifest = ManifestWriter(plan.out)
    try:
        pipeline = Pipeline(
            plan,
            inference,
            manifest,
            workers=options.workers or min(os.cpu_count() or 1, 8),
            keep_going=options.keep_going,
            progress=progress,
        )
        tally = pipeline.run()
    finally:
        manifest.close()
    settle_manifest(plan.out, {job.path for job in plan.jobs})
    return tally
