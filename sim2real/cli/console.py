"""Where the commands print: results to ``out`` (stdout), everything on the way to ``err`` (stderr)."""

import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

if TYPE_CHECKING:
    from sim2real.conversion import Progress as Report

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

_SECONDS_BETWEEN_LINES = 15


def is_live() -> bool:
    """Whether stderr is a terminal, where lines may be drawn over; variables that force colours do not make it one."""
    return sys.stderr.isatty()


@contextmanager
def progress(unit: str = "files") -> "Iterator[Report]":
    """Show long work on stderr: a bar for each of its stages on a terminal, elsewhere a line now and then.

    Yields:
        What to call with a stage, the units that are done and how many there are in all.
    """
    begun = time.monotonic()
    paces: defaultdict[str, _Pace] = defaultdict(_Pace)

    def state(stage: str, done: int, total: int, limit: str) -> str:
        """How it goes, or how long it took."""
        if done == total:
            return f"in {duration(time.monotonic() - begun)}"
        rate = paces[stage](done)
        parts = [f"{rate:.1f}/s", f"{duration((total - done) / rate)} left"] if rate else []
        return ", ".join([*parts, f"limited by {limit}"] if limit else parts)

    if is_live():
        columns = (
            TextColumn("{task.description:<11}"),
            BarColumn(None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
        )
        with Progress(*columns, TextColumn("{task.fields[state]}"), console=err, expand=True) as bars:
            tasks: dict[str, TaskID] = {}

            def draw(stage: str, done: int, total: int, limit: str = "", /) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total, state="")
                bars.update(tasks[stage], completed=done, state=state(stage, done, total, limit))

            yield draw
        return
    shown: dict[str, float] = {}

    def print_line(stage: str, done: int, total: int, limit: str = "", /) -> None:
        now, so_far = time.monotonic(), state(stage, done, total, limit)
        if done == total or now - shown.setdefault(stage, now) >= _SECONDS_BETWEEN_LINES:
            shown[stage] = now
            comma = "," if so_far and done < total else ""
            err.print(f"{stage} {done}/{total} {unit}{comma} {so_far}".rstrip())

    yield print_line


class _Pace:
    """How many units a second get done, lately; nothing before the first one counts: that is preparation."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=60)

    def __call__(self, done: int) -> float:
        """Units a second; 0 until that can be told."""
        now = time.monotonic()
        if done and (not self._seen or now - self._seen[-1][0] >= 1):
            self._seen.append((now, done))
        begin, first = self._seen[0] if self._seen else (now, done)
        return (done - first) / (now - begin) if now - begin >= 2 else 0


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
