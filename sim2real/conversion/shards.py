"""Several processes, on one machine or many, that convert one dataset into one folder.

Who does what follows from a process's number alone; no scheduler, server or network is needed but the file system that
they share. Its locks must hold across machines: those of NFSv4 do, of Lustre if it is mounted with ``-o flock``, of a
local disk of course. ``OUT/.sim2real/lock`` is held for a moment by whoever comes or leaves; and as long as it is at
work, a process holds its own part of the manifest, so that those who come see who is there.
"""

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sim2real.conversion.manifest import manifest_path, part_path, part_paths
from sim2real.datasets.base import STATE_FOLDER
from sim2real.errors import Sim2RealError
from sim2real.files import PATIENCE, exclusive, lock
from sim2real.inside import inside

_PATIENCE = 1800  # seconds: the first to come lists and plans, perhaps a dataset of millions on a slow disk


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One process's part of the work.

    Attributes:
        index: Its number, from 0.
        count: How many processes share the work.
        local: Its number on its machine, from 0; None where nobody says.
        said_by: Who says so.
    """

    index: int
    count: int
    local: int | None = None
    said_by: str

    def __str__(self) -> str:
        return f"shard {self.index + 1} of {self.count}"


def find_shard(requested: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Which part of the work is this process's.

    Args:
        requested: ``"I/N"``, I from 1; ``"off"``: all of it; ``"auto"``: what torchrun, srun or a SLURM array, or srun
            or torchrun in an array, say in the environment.
        environment: Variables.

    Returns:
        The shard; None if all of the work is this process's.

    Raises:
        Sim2RealError: What is requested is none of these, or the environment says something impossible.
    """
    if requested == "off":
        return None
    if requested == "auto":
        array, step = _array(environment), _torchrun(environment) or _srun(environment)
        shard = _within(array, step) if array and step else array or step
    elif match := re.fullmatch(r"(\d+)/(\d+)", requested):
        shard = Shard(index=int(match[1]) - 1, count=int(match[2]), said_by="--shard")
    else:
        raise Sim2RealError(f"--shard {requested}: say auto, off, or I/N as in 2/4")
    if shard and not 0 <= shard.index < shard.count:
        raise Sim2RealError(f"there is no shard {shard.index + 1} of {shard.count}, as {shard.said_by} says")
    return shard if shard and shard.count > 1 else None


def own_device(device: str, shard: Shard | None) -> str:
    """The GPU of a process, where several processes on a machine have several GPUs; else the device that is named."""
    if shard is None or shard.local is None or device not in {"auto", "cuda"}:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{shard.local % count}" if count > 1 else device


def _torchrun(environment: Mapping[str, str]) -> Shard | None:
    """https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment Variables"; a stray RANK says nothing."""
    launched = "TORCHELASTIC_RUN_ID" in environment or {"LOCAL_RANK", "MASTER_ADDR"} <= environment.keys()
    if not launched or not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return None
    index, count = _numbers(environment, "RANK", "WORLD_SIZE")
    return Shard(index=index, count=count, local=_local(environment, "LOCAL_RANK"), said_by="torchrun")


def _srun(environment: Mapping[str, str]) -> Shard | None:
    """https://slurm.schedmd.com/srun.html, "OUTPUT ENVIRONMENT VARIABLES".

    Batch scripts and shells have SLURM_PROCID=0 and SLURM_NTASKS too, though nobody runs beside them: only a step
    counts its tasks. In ``srun --pty SHELL`` the step's other tasks have ended for want of input.
    """
    if not {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"} <= environment.keys():
        return None
    if "SLURM_PTY_PORT" in environment and sys.stdin.isatty():
        return None
    index, count = _numbers(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    return Shard(index=index, count=count, local=_local(environment, "SLURM_LOCALID"), said_by="srun")


def _array(environment: Mapping[str, str]) -> Shard | None:
    """https://slurm.schedmd.com/job_array.html, "Job ID and Environment Variables"."""
    prefix = "SLURM_ARRAY_TASK_"
    if f"{prefix}ID" not in environment:
        return None
    steps = {f"{prefix}STEP": "1"} | dict(environment)
    task, first, last, step, count = _numbers(steps, *(prefix + name for name in ("ID", "MIN", "MAX", "STEP", "COUNT")))
    if step < 1 or last != first + step * (count - 1) or (task - first) % step:
        message = (
            f"this SLURM array of {count} tasks from {first} to {last} is not regular: say --shard I/N, or --shard off "
            "if each task converts a dataset of its own"
        )
        raise Sim2RealError(message)
    return Shard(index=(task - first) // step, count=count, said_by=f"SLURM array {first}-{last}")


def _within(outer: Shard, inner: Shard) -> Shard:
    return Shard(
        index=outer.index * inner.count + inner.index,
        count=outer.count * inner.count,
        local=inner.local,
        said_by=f"{inner.said_by} in {outer.said_by}",
    )


def _numbers(environment: Mapping[str, str], *names: str) -> list[int]:
    try:
        return [int(environment[name]) for name in names]
    except (KeyError, ValueError) as error:
        said = ", ".join(f"{name}={environment.get(name, '')}" for name in names)
        raise Sim2RealError(f"the environment says {said}: not all numbers; say --shard I/N or --shard off") from error


def _local(environment: Mapping[str, str], name: str) -> int | None:
    return _numbers(environment, name)[0] if name in environment else None


@contextmanager
def conversion_lock(out: Path) -> Iterator[None]:
    """Be the only one who begins or ends work in a folder.

    Work that could not begin leaves no trace, or, if several processes tried at once, perhaps an empty folder.

    Raises:
        Sim2RealError: Another process has been doing so for half an hour.
    """
    state = inside(out, f"{STATE_FOLDER}/lock").parent
    new = not out.exists()
    refusal = f"{out}: another conversion has been planning here for {_PATIENCE // 60} minutes; is it still alive?"
    with exclusive(state / "lock", refusal, patience=_PATIENCE):
        try:
            yield
        except BaseException:
            if [entry.name for entry in state.iterdir()] == ["lock"]:
                with suppress(OSError):  # in use: by others who wait, or, on Windows, by us
                    (state / "lock").unlink()
                    state.rmdir()
                    if new:
                        out.rmdir()
            raise


def active_writers(out: Path) -> list[Path]:
    """The parts of the manifest that other processes are writing; for a holder of the lock."""
    return [path for path in (manifest_path(out), *part_paths(out)) if _is_held(path)]


def is_taken(out: Path, shard: tuple[int, int]) -> bool:
    """Whether a process holds a shard, or the file system has not noticed yet that it is lost.

    Args:
        out: The converted dataset.
        shard: Its number, from 0, and how many share the work.
    """
    part = part_path(out, shard)
    if not part.exists():
        return False
    with conversion_lock(out):
        return part in active_writers(out)


def joins_others(out: Path, shard: tuple[int, int] | None) -> bool:
    """Whether others are at work already who share it with this process; for a holder of the lock.

    Raises:
        Sim2RealError: Somebody is at work who does not.
    """
    mates = {part_path(out, (index, shard[1])) for index in range(shard[1]) if index != shard[0]} if shard else set()
    end = time.monotonic() + PATIENCE
    while True:
        others = active_writers(out)
        strangers = [path for path in others if path not in mates]
        if not strangers:
            return bool(others)
        if time.monotonic() >= end:
            part = strangers[0].name.split(".")[1].replace("-", " ")
            who = "" if strangers[0] == manifest_path(out) else f" (shard {part})"
            message = f"{out}: another conversion is writing here{who}; wait for it, or name another folder"
            raise Sim2RealError(message)
        time.sleep(0.02)


def _is_held(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        return not lock(file)
    return False
