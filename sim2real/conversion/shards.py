"""Several processes, on one machine or many, that convert one dataset into one folder.

A process's share of the work follows from its number alone; the processes need a shared file system, but no scheduler,
server or network. Locks of the file system must hold across machines: those of NFSv4 do, those of Lustre do if it is
mounted with ``-o flock``. A process holds ``OUT/.sim2real/lock`` for a moment when it starts and when it ends. While it
works, it also locks its own part of the manifest, so that processes that start later see it.
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

_PATIENCE = 1800  # seconds: the first process may plan for millions of files on a slow disk


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A process's part of the work.

    Attributes:
        index: Number of the process, from 0.
        count: Number of processes that share the work.
        local: Number of the process on its machine, from 0; None if unknown.
        set_by: The source of these numbers.
    """

    index: int
    count: int
    local: int | None = None
    set_by: str

    def __str__(self) -> str:
        return f"shard {self.index + 1} of {self.count}"


def find_shard(requested: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return this process's part of the work.

    Args:
        requested: ``"I/N"``, with I from 1; ``"off"`` for all of the work; ``"auto"`` to take it from the environment
            variables of torchrun, srun, a SLURM array, or srun or torchrun in an array.
        environment: Environment variables.

    Returns:
        The shard; None if this process does all of the work.

    Raises:
        Sim2RealError: If the request is malformed, or the environment variables are inconsistent.
    """
    if requested == "off":
        return None
    if requested == "auto":
        array, step = _array(environment), _torchrun(environment) or _srun(environment)
        shard = _within(array, step) if array and step else array or step
    elif match := re.fullmatch(r"(\d+)/(\d+)", requested):
        shard = Shard(index=int(match[1]) - 1, count=int(match[2]), set_by="--shard")
    else:
        raise Sim2RealError(f"--shard {requested}: use auto, off, or I/N, for example 2/4")
    if shard and not 0 <= shard.index < shard.count:
        raise Sim2RealError(f"there is no shard {shard.index + 1} of {shard.count}, as set by {shard.set_by}")
    return shard if shard and shard.count > 1 else None


def own_device(device: str, shard: Shard | None) -> str:
    """Return the GPU of a process if its machine has several processes and GPUs; else the named device."""
    if shard is None or shard.local is None or device not in {"auto", "cuda"}:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{shard.local % count}" if count > 1 else device


def _torchrun(environment: Mapping[str, str]) -> Shard | None:
    """https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment Variables"; RANK alone is not enough."""
    launched = "TORCHELASTIC_RUN_ID" in environment or {"LOCAL_RANK", "MASTER_ADDR"} <= environment.keys()
    if not launched or not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return None
    index, count = _numbers(environment, "RANK", "WORLD_SIZE")
    return Shard(index=index, count=count, local=_local(environment, "LOCAL_RANK"), set_by="torchrun")


def _srun(environment: Mapping[str, str]) -> Shard | None:
    """https://slurm.schedmd.com/srun.html, "OUTPUT ENVIRONMENT VARIABLES".

    Batch scripts and shells also have SLURM_PROCID=0 and SLURM_NTASKS, although no other task runs: only a step counts
    its tasks. In ``srun --pty SHELL`` the other tasks of the step have ended for lack of input.
    """
    if not {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"} <= environment.keys():
        return None
    if "SLURM_PTY_PORT" in environment and sys.stdin.isatty():
        return None
    index, count = _numbers(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    return Shard(index=index, count=count, local=_local(environment, "SLURM_LOCALID"), set_by="srun")


def _array(environment: Mapping[str, str]) -> Shard | None:
    """https://slurm.schedmd.com/job_array.html, "Job ID and Environment Variables"."""
    prefix = "SLURM_ARRAY_TASK_"
    if f"{prefix}ID" not in environment:
        return None
    steps = {f"{prefix}STEP": "1"} | dict(environment)
    task, first, last, step, count = _numbers(steps, *(prefix + name for name in ("ID", "MIN", "MAX", "STEP", "COUNT")))
    if step < 1 or last != first + step * (count - 1) or (task - first) % step:
        message = (
            f"this SLURM array of {count} tasks from {first} to {last} is not regular: use --shard I/N, or --shard off "
            "if each task converts a dataset of its own"
        )
        raise Sim2RealError(message, topic="many-machines")
    return Shard(index=(task - first) // step, count=count, set_by=f"SLURM array {first}-{last}")


def _within(outer: Shard, inner: Shard) -> Shard:
    return Shard(
        index=outer.index * inner.count + inner.index,
        count=outer.count * inner.count,
        local=inner.local,
        set_by=f"{inner.set_by} in {outer.set_by}",
    )


def _numbers(environment: Mapping[str, str], *names: str) -> list[int]:
    try:
        return [int(environment[name]) for name in names]
    except (KeyError, ValueError) as error:
        said = ", ".join(f"{name}={environment.get(name, '')}" for name in names)
        raise Sim2RealError(
            f"environment: {said}: not all are numbers; use --shard I/N or --shard off", topic="many-machines"
        ) from error


def _local(environment: Mapping[str, str], name: str) -> int | None:
    return _numbers(environment, name)[0] if name in environment else None


@contextmanager
def conversion_lock(out: Path) -> Iterator[None]:
    """Hold the lock of a folder while starting or ending work in it.

    If work fails to start, the folder is left as it was; if several processes tried at once, an empty folder may
    remain.

    Raises:
        Sim2RealError: If another process has held the lock for half an hour.
    """
    state = inside(out, f"{STATE_FOLDER}/lock").parent
    new = not out.exists()
    refusal = f"{out}: another conversion has been planning here for {_PATIENCE // 60} minutes; is it still alive?"
    with exclusive(state / "lock", refusal, patience=_PATIENCE):
        try:
            yield
        except BaseException:
            if [entry.name for entry in state.iterdir()] == ["lock"]:
                with suppress(OSError):  # in use by waiting processes, or on Windows by this one
                    (state / "lock").unlink()
                    state.rmdir()
                    if new:
                        out.rmdir()
            raise


def active_writers(out: Path) -> list[Path]:
    """Return the parts of the manifest that other processes are writing; the caller must hold the lock."""
    return [path for path in (manifest_path(out), *part_paths(out)) if _is_held(path)]


def is_taken(out: Path, shard: tuple[int, int]) -> bool:
    """Return whether a process holds a shard; a lost process counts until the file system releases its lock.

    Args:
        out: The converted dataset.
        shard: Number of the shard, from 0, and the number of processes.
    """
    part = part_path(out, shard)
    if not part.exists():
        return False
    with conversion_lock(out):
        return part in active_writers(out)


def joins_others(out: Path, shard: tuple[int, int] | None) -> bool:
    """Return whether other processes of the same conversion are already working; the caller must hold the lock.

    Raises:
        Sim2RealError: If a process is working that does not share this conversion.
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
            raise Sim2RealError(message, topic="kills-and-reruns")
        time.sleep(0.02)


def _is_held(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        return not lock(file)
    return False
