"""Shared code of the benchmarks: timing in turns, fresh processes and their peak memory, tables."""

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

T = TypeVar("T")
_LEAST = 0.95
_CONSOLE = Console(width=320, highlight=False, soft_wrap=True)


def make_parser(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """Return a parser with ``--repeats`` and ``--quick``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats, help="number of measurements of each (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="run once at a tiny scale, to check that the script works")
    return parser


def print_verdict(name: str, times_plain: float) -> None:
    """Print PASS if something is at most 5 % slower than the plain loop, else FAIL."""
    print(f"{'PASS' if times_plain >= _LEAST else 'FAIL'}: {name}: {times_plain:.2f} times the plain loop")


def in_turns(
    contenders: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warm_up: bool = True,
    wait: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Measure the wall times of contenders in turn, one run of each per round, so that other load affects all alike.

    Args:
        contenders: Name -> the function to time.
        repeats: Number of rounds.
        warm_up: Run each once beforehand, untimed.
        wait: Waits until a device has finished all its work.

    Returns:
        Name -> seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-1 if warm_up else 0, repeats):
        for name, work in contenders.items():
            began = time.perf_counter()
            work()
            if wait:
                wait()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def in_fresh_process(work: Callable[..., T], *arguments: object, imports: str = "") -> T:
    """Return the result of a module-level function, computed in a fresh process.

    The process is forked from a server that has only imported modules; a child of this process would inherit its peak
    memory.

    Args:
        work: The function.
        *arguments: Its arguments.
        imports: Module that the server imports.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([imports] if imports else [])
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(work, *arguments).result()


def peak_memory() -> float:
    """Return the peak memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def timing_cells(seconds: Sequence[float], yardstick: Sequence[float]) -> list[str]:
    """Return median, range, and the median's ratio to that of a baseline, as text."""
    median = statistics.median(seconds)
    ratio = median / statistics.median(yardstick)
    return [f"{median:.3f} s", f"{min(seconds):.3f} to {max(seconds):.3f}", f"{ratio:.2f}"]


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown; its first column is text, the others are numbers."""
    table = Table(box=box.MARKDOWN)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(f"\n{title}")
    _CONSOLE.print(table)


def processor() -> str:
    """Return the model of the processor, the number of cores for this process, and the system."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = models[0] if models else platform.processor()
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"
