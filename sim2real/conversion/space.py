"""Disk space for the files still to do, and a check whether enough is free."""

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
    """Return the estimated size in bytes of the files still to do; links count as 0.

    Args:
        plan: The plan of the conversion.
        growth: Size of translations relative to their sources; None for the ratio of their pixels.
    """
    jobs = [job for job in plan.todo if _takes_space(plan, job)]
    return sum(round(job.size * growth) if growth and job.translate else _size(job) for job in jobs)


def growth_of(plan: Plan) -> float:
    """Return the size of images, encoded again but not translated, relative to their sources; 1 if none can be read."""
    before = after = 0
    for job, picture in samples(plan):
        before += job.size
        after += len(encoded(plan, picture, picture.rgb))
    return after / before if before else 1.0


def samples(plan: Plan) -> Iterator[tuple[Job, Picture]]:
    """Yield a few of the frames to translate, evenly spread."""
    for job in evenly([job for job in plan.todo if job.translate], _SAMPLES):
        try:
            yield job, read_picture(plan.source / job.path)
        except ImageError:
            continue


def encoded(plan: Plan, picture: Picture, rgb: "NDArray[np.uint8]") -> bytes:
    """Return a frame or its translation encoded as in the conversion."""
    picture = replace(picture, rgb=rgb)
    if size := plan.record.resize:
        picture = resize_picture(picture, (size[0], size[1]))
    return encode_picture(picture.rgb, picture, plan.encoding)


def bytes_free(out: Path) -> int:
    """Return the free bytes on the disk of ``out``, which need not exist."""
    return shutil.disk_usage(_existing_folder(out)).free


def check_space(plan: Plan) -> None:
    """Check that there is enough space for the files still to do.

    Raises:
        Sim2RealError: If there is not.
    """
    needed, free = bytes_to_write(plan), bytes_free(plan.out)
    if needed > free:
        needed = sum(_growth(plan, job) for job in plan.todo if _takes_space(plan, job))
    if needed > free and not _copies_share(plan):
        _refuse(plan, f"needs {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free")
    if hasattr(os, "statvfs"):  # not on Windows
        system = os.statvfs(_existing_folder(plan.out))
        new = [job for job in plan.todo if job.mode(plan.record.carry) != "hardlink"]
        if system.f_files and len(new) > system.f_favail:  # 0: no limit
            files = sum(not (plan.out / job.path).exists() for job in new)
            if files > system.f_favail:
                _refuse(plan, f"needs {files:,} files, the file system takes {system.f_favail:,} more")


def _refuse(plan: Plan, why: str) -> None:
    others = "" if plan.record.carry == "hardlink" else ", carry labels as links (--carry hardlink)"
    message = f"{plan.out}: the conversion {why}; make room, name a folder on another disk{others}, or convert a part"
    raise Sim2RealError(message, topic="a-conversion-is-refused")


def _takes_space(plan: Plan, job: Job) -> bool:
    return job.mode(plan.record.carry) == "copy"


def _size(job: Job) -> int:
    """Return the approximate size in bytes of the output file."""
    return round(job.size * job.resize.growth) if job.resize and is_image(job.path) else job.size


def _growth(plan: Plan, job: Job) -> int:
    """Return how many more bytes a file takes than the one that it replaces."""
    try:
        stat = (plan.out / job.path).lstat()
    except OSError:
        return _size(job)
    return _size(job) - (stat.st_size if stat.st_nlink == 1 else 0)


def _copies_share(plan: Plan) -> bool:
    """Return whether copies share the blocks of the source and there is space for the files that change."""
    copies = [job for job in plan.todo if _takes_space(plan, job) and job.aim == "carried" and job.stat]
    others = sum(_growth(plan, job) for job in plan.todo if job.aim != "carried")
    if not copies or others > bytes_free(plan.out):
        return False
    return can_clone(plan.source / copies[0].path, _existing_folder(plan.out))


def _existing_folder(out: Path) -> Path:
    return next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
