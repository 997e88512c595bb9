"""Commands that start at once: a process that has imported everything forks a child for each."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

from tests.commands import environment

SERVER = """
import gc, json, os, resource, sys
import cv2, numpy, torch, torch._dynamo  # once for all children
import sim2real.cli.console, sim2real.cli.convert, sim2real.cli.train, sim2real.config, sim2real.conversion
import sim2real.engines.torch, sim2real.training
from sim2real.cli import main

gc.freeze()  # otherwise each child would copy all objects to free them
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
    output = os.open(order["output"], os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
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


class ForkServer:
    """A process that has imported everything and forks a child for each command.

    Args:
        folder: Working folder of the commands.
    """

    def __init__(self, folder: Path) -> None:
        pipe = subprocess.PIPE
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment(), cwd=folder, stdin=pipe, stdout=pipe, text=True
        )
        assert self._answer() == "ready"

    def ask(self, **order: object) -> Any:
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def start(self, *args: object, largest: int = 0, ends: bool = False) -> "Command":
        """Start a command.

        Args:
            args: Arguments of ``sim2real``.
            largest: Maximum size of a file in bytes; 0 for no limit.
            ends: Shut Python down at the end as a real process does; without it the child exits at once.
        """
        self._count += 1
        output = self._folder / f"output {self._count}.txt"
        output.write_text("")
        order = {"folder": str(self._folder), "output": str(output), "largest": largest, "ends": ends}
        return Command(self, self.ask(args=[*map(str, args)], **order), output)

    def convert(
        self, out: Path, *options: object, source: str = "in", largest: int = 0, ends: bool = False
    ) -> "Command":
        """Start a conversion."""
        args = ["convert", source, out, "--device", "cpu", "--precision", "fp32", *options]
        return self.start(*args, largest=largest, ends=ends)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Command:
    """A running command of ``sim2real``."""

    def __init__(self, server: ForkServer, pid: int, output: Path) -> None:
        self.pid = pid
        self._server = server
        self._output = output
        self._code: int | None = None

    def running(self) -> bool:
        if self._code is None:
            self._code = self._server.ask(pid=self.pid, flags=os.WNOHANG)
        return self._code is None

    def signal(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Return the exit code and the whole output; the timeout of the tests ends a command that hangs."""
        if self._code is None:
            self._code = self._server.ask(pid=self.pid, flags=0)
        return self._code, self.output()

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def wait_for_output(self) -> None:
        """Wait until it has printed something or has ended."""
        while self.running() and not self.output():
            time.sleep(0.001)

    def wait_for_files(self, out: Path, count: int) -> None:
        while self.running() and sum(len(names) for _, _, names in os.walk(out)) < count:
            time.sleep(0.001)

    def children(self) -> list[psutil.Process]:
        """Its child processes, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def survivors(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that have not ended within some seconds; a zombie has ended."""
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
