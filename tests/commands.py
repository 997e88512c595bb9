"""Run commands of ``sim2real`` as a user does, and read the files that they write."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]

ROOT = Path(__file__).parents[1]
GENERATORS = ("sim2real.safetensors", "real2sim.safetensors")


def environment(path: Path | None = None, **variables: str) -> dict[str, str]:
    """Environment variables of a command: one thread, no colours; ``path`` comes first on the import path."""
    places = [str(place) for place in (path, ROOT, os.environ.get("PYTHONPATH")) if place]
    usual = {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    return {**os.environ, **usual, **variables}


def start(
    *args: object,
    path: Path | None = None,
    env: dict[str, str] | None = None,
    launcher: tuple[object, ...] = ("-m",),
    **options: Any,
) -> "subprocess.Popen[str]":
    """Start ``sim2real ARGS`` in a process.

    Args:
        args: Arguments of ``sim2real``.
        path: Folder that comes first on the import path.
        env: Further environment variables.
        launcher: Arguments of Python that run the module ``sim2real``.
        options: Options of ``subprocess.Popen``.
    """
    command = [sys.executable, *launcher, "sim2real", *args]
    return subprocess.Popen([*map(str, command)], env=environment(path, **(env or {})), text=True, **options)


def torchrun(count: int) -> tuple[str, ...]:
    """Arguments of Python that start a script in ``count`` processes."""
    return ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count))


def run_here(*args: object) -> int:
    """Run ``sim2real ARGS`` in this process, restore the signal handlers, and return the exit code."""
    from sim2real.cli import main

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["sim2real", *map(str, args)])
            with pytest.raises(SystemExit) as ended:
                main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return int(ended.value.code or 0)


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """Require that a command succeeded; returns its stdout."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> str:
    """Require that a command printed nothing but an error of one line, which contains ``parts``; returns the line."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr
    return done.stderr


def flags(settings: Iterable[str]) -> list[str]:
    """``--set KEY=VALUE`` for each setting."""
    return [word for setting in settings for word in ("--set", setting)]


def training(photos: Path, settings: Iterable[str], *more: object) -> list[object]:
    """The arguments of a training on ``photos``."""
    return ["train", photos / "sim", photos / "real", *flags(settings), *more]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder by relative path."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents(folder).items())}


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of a conversion's manifest by path."""
    return {line["path"]: line for line in json_lines(out / ".sim2real/manifest.jsonl")}


def metrics(run: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl without the speed, which differs between runs."""
    records = json_lines(run / "metrics.jsonl")
    return [{name: value for name, value in record.items() if name != "images_per_second"} for record in records]


def generators(run: Path) -> list[bytes]:
    """The files of both generators of a run."""
    return [(run / name).read_bytes() for name in GENERATORS]
