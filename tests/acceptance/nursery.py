"""Commands that take no seconds to begin: a process that has imported everything forks one for each."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
NURSERY = """
import gc, json, os, resource, sys
import cv2, numpy, torch, torch._dynamo  # once, for all that are born here
import sim2real.cli.console, sim2real.cli.convert, sim2real.cli.train, sim2real.config, sim2real.conversion
import sim2real.engines.torch, sim2real.training
from sim2real.cli import main

gc.freeze()  # else each child would copy all of it to clear it away
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "pid" in order:
        pid, status = os.waitpid(order["pid"], order["flags"])
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    said = os.open(order["said"], os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(order["folder"])
    if order["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    sys.argv = ["sim2real", *order["args"]]
    try:
        main()
    except SystemExit as ended:
        if order["ends"]:
            gc.unfreeze()
            raise
        sys.stdout.flush()
        os._exit(ended.code or 0)
"""


class Nursery:
    """A process that has imported everything and forks one for each command.

    Args:
        folder: Where they run.
    """

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
        pipe = subprocess.PIPE
        self._folder = folder
        self._born = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], env=environment, cwd=folder, stdin=pipe, stdout=pipe, text=True
        )
        assert self._answer() == "ready"

    def ask(self, **order: object) -> Any:
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def begin(self, *args: object, largest: int = 0, ends: bool = False) -> "Command":
        """Begin a command.

        Args:
            args: Of ``sim2real``.
            largest: Bytes that no file may exceed; 0 for no limit.
            ends: Clear away all of Python at the end, as real processes do; else it just ends, which is quicker.
        """
        self._born += 1
        said = self._folder / f"said {self._born}.txt"
        said.write_text("")
        order = {"folder": str(self._folder), "said": str(said), "largest": largest, "ends": ends}
        return Command(self, self.ask(args=[*map(str, args)], **order), said)

    def convert(
        self, out: Path, *options: object, source: str = "in", largest: int = 0, ends: bool = False
    ) -> "Command":
        """Begin a conversion."""
        args = ["convert", source, out, "--device", "cpu", "--precision", "fp32", *options]
        return self.begin(*args, largest=largest, ends=ends)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Command:
    """``sim2real`` at work."""

    def __init__(self, nursery: Nursery, pid: int, said: Path) -> None:
        self.pid = pid
        self._nursery = nursery
        self._said = said
        self._code: int | None = None

    def running(self) -> bool:
        if self._code is None:
            self._code = self._nursery.ask(pid=self.pid, flags=os.WNOHANG)
        return self._code is None

    def signal(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """The exit code and all that was said; hangs are found by the timeout of the tests."""
        if self._code is None:
            self._code = self._nursery.ask(pid=self.pid, flags=0)
        return self._code, self.said()

    def said(self) -> str:
        """All that it has said so far."""
        return self._said.read_text()

    def wait_for_words(self) -> None:
        """Wait until it has said what it is going to do, or has ended."""
        while self.running() and not self.said():
            time.sleep(0.001)

    def wait_for_files(self, out: Path, count: int) -> None:
        while self.running() and sum(len(names) for _, _, names in os.walk(out)) < count:
            time.sleep(0.001)

    def children(self) -> list[psutil.Process]:
        """The processes that came of it so far."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by relative path."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def survivors(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended in time; zombies have, whether or not somebody has asked for their exit codes."""
    end, left = time.monotonic() + seconds, list(processes)
    while left and time.monotonic() < end:
        left = [process for process in left if _lives(process)]
        time.sleep(0.02)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
