"""Where the commands print: results to ``out`` (stdout), everything on the way to ``err`` (stderr)."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

_SECONDS_BETWEEN_LINES = 15


def is_live() -> bool:
    """Whether stderr is a terminal, where lines may be drawn over; variables that force colours do not make it one."""
    return sys.stderr.isatty()


@contextmanager
def progress(unit: str = "files") -> Iterator[Callable[[str, int, int], None]]:
    """Show long work on stderr: a bar for each of its stages on a terminal, elsewhere a line now and then.

    Yields:
        What to call with a stage, the units that are done and how many there are in all; from one thread at a time.
    """
    begun = time.monotonic()

    def rate(done: int) -> float:
        return done / max(time.monotonic() - begun, 1e-3)

    if is_live():
        columns = (TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TextColumn("{task.fields[rate]:.1f}/s"), TimeRemainingColumn(), console=err) as bars:
            tasks = {}

            def draw(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total, rate=0.0)
                bars.update(tasks[stage], completed=done, rate=rate(done))

            yield draw
        return
    shown: dict[str, float] = {}

    def print_line(stage: str, done: int, total: int) -> None:
        speed, now = rate(done), time.monotonic()
        if done == total or now - shown.setdefault(stage, now) >= _SECONDS_BETWEEN_LINES:
            shown[stage] = now
            left = f", {duration((total - done) / max(speed, 1e-9))} left" if done < total else ""
            err.print(f"{stage} {done}/{total} {unit}, {speed:.1f}/s{left}")

    yield print_line


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))


def byte_size(count: float) -> str:
    """A number of bytes with its unit."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "bytes" else f"{count:.1f} {units[0]}"
