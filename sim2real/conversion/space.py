"""What the files still to do take on the disk, and whether there is room for them."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.conversion.carry import can_clone
from sim2real.conversion.jobs import Job
from sim2real.conversion.plan import Plan, evenly
from sim2real.errors import ImageError, Sim2RealError
from sim2real.imageio import Picture, encode_picture, is_image, read_picture, resize_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLES = 3


def bytes_to_write(plan: Plan, growth: float | None = None) -> int:
    """What the files still to do take; links take nothing.

    Args:
        plan: What is to be done.
        growth: How many times as large as their sources translations are; None: as many times as they have pixels.
    """
    jobs = [job for job in plan.todo if _takes_space(plan, job)]
    return sum(round(job.size * growth) if growth and job.translate else _size(job) for job in jobs)


def growth_of(plan: Plan) -> float:
    """How many times as large as its source an image will be, were it not translated; 1 if that cannot be tried."""
    before = after = 0
    for job, picture in samples(plan):
        before += job.size
        after += len(encoded(plan, picture, picture.rgb))
    return after / before if before else 1.0


def samples(plan: Plan) -> Iterator[tuple[Job, Picture]]:
    """A few of the frames to translate, evenly spread."""
    for job in evenly([job for job in plan.todo if job.translate], _SAMPLES):
        try:
            yield job, read_picture(plan.source / job.path)
        except ImageError:
            continue


def encoded(plan: Plan, picture: Picture, rgb: "NDArray[np.uint8]") -> bytes:
    """A frame or its translation as it would be written."""
    picture = replace(picture, rgb=rgb)
    if size := plan.record.resize:
        picture = resize_picture(picture, (size[0], size[1]))
    return encode_picture(picture.rgb, picture, plan.encoding)


def bytes_free(out: Path) -> int:
    """The room for them where ``out`` is or will be."""
    return shutil.disk_usage(_there(out)).free


def check_space(plan: Plan) -> None:
    """Make sure that there is room for what is still to do; half a dataset helps nobody.

    Raises:
        Sim2RealError: There is not.
    """
    needed, free = bytes_to_write(plan), bytes_free(plan.out)
    if needed > free:
        needed = sum(_growth(plan, job) for job in plan.todo if _takes_space(plan, job))
    if needed > free and not _copies_share(plan):
        _refuse(plan, f"needs {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free")
    if hasattr(os, "statvfs"):  # not on Windows
        system = os.statvfs(_there(plan.out))
        new = [job for job in plan.todo if job.mode(plan.record.carry) != "hardlink"]
        if system.f_files and len(new) > system.f_favail:  # some file systems have no such limit
            files = sum(not (plan.out / job.path).exists() for job in new)
            if files > system.f_favail:
                _refuse(plan, f"needs {files:,} files, the file system takes {system.f_favail:,} more")


def _refuse(plan: Plan, why: str) -> None:
    others = "" if plan.record.carry == "hardlink" else ", carry labels as links (--carry hardlink)"
    message = f"{plan.out}: what is to be done {why}; make room, name a folder on another disk{others}, or do a part"
    raise Sim2RealError(message)


def _takes_space(plan: Plan, job: Job) -> bool:
    return job.mode(plan.record.carry) == "copy"


def _size(job: Job) -> int:
    """About how many bytes it will have."""
    return round(job.size * job.resize.growth) if job.resize and is_image(job.path) else job.size


def _growth(plan: Plan, job: Job) -> int:
    """How much more a file takes than the one in its place, which goes."""
    try:
        stat = (plan.out / job.path).lstat()
    except OSError:
        return _size(job)
    return _size(job) - (stat.st_size if stat.st_nlink == 1 else 0)


def _copies_share(plan: Plan) -> bool:
    """Whether copies share the bytes of the source, so that only what changes needs room, and there is that."""
    copies = [job for job in plan.todo if _takes_space(plan, job) and job.aim == "carried" and job.stat]
    others = sum(_growth(plan, job) for job in plan.todo if job.aim != "carried")
    return bool(copies) and others <= bytes_free(plan.out) and can_clone(plan.source / copies[0].path, _there(plan.out))


def _there(out: Path) -> Path:
    return next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
