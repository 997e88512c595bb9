"""Output of the commands: results go to ``out`` (stdout), progress and messages to ``err`` (stderr)."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from sim2real.stages import Left, Stages
from sim2real.threads import true_interrupts

if TYPE_CHECKING:
    from sim2real.conversion import Progress as Report

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

_SECONDS_BETWEEN_LINES = 15


def is_live() -> bool:
    """Return whether stderr is a terminal; variables that force colours have no influence."""
    return sys.stderr.isatty()


@contextmanager
def progress(unit: str = "files", *, stays: bool = True) -> "Iterator[Report]":
    """Show the progress of long work on stderr: a bar for each stage on a terminal, else occasional lines.

    Args:
        unit: Name of the counted units.
        stays: Whether the bars on a terminal remain visible at the end.

    Yields:
        A function to call with a stage, the number of finished units and their total.
    """
    stages = Stages()

    def state(stage: str, done: int, total: int, limit: str) -> str:
        """Describe the pace of a stage, or its duration once it is finished."""
        stages.note(stage, done, total)
        if not done:
            return ""
        if done == total:
            return f"in {duration(stages.seconds(stage))}"
        return ", ".join([*pace(stages.left(stage)), *([f"limited by {limit}"] if limit else [])])

    if is_live():
        columns = (
            TextColumn("{task.description:<11}"),
            BarColumn(None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True)),
        )
        with Progress(*columns, console=err, expand=True, transient=not stays) as bars:
            tasks: dict[str, TaskID] = {}

            def draw(stage: str, done: int, total: int, limit: str = "", /) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total, state="")
                state_text = state(stage, done, total, limit)
                bars.update(tasks[stage], completed=done, total=total, state=state_text, visible=bool(total))

            yield draw
        return
    shown: dict[str, float] = {}

    def print_line(stage: str, done: int, total: int, limit: str = "", /) -> None:
        now, so_far = time.monotonic(), state(stage, done, total, limit)
        waited = now - shown.setdefault(stage, now) >= _SECONDS_BETWEEN_LINES
        if done and (done == total or waited):
            shown[stage] = now
            comma = "," if so_far and done < total else ""
            err.print(f"{stage} {done}/{total} {unit}{comma} {so_far}".rstrip())

    yield print_line


@contextmanager
def interruptible(text: str) -> Iterator[None]:
    """Report on Ctrl-C what happens to the interrupted work."""
    try:
        with true_interrupts():
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {text}") from None


def pace(left: Left) -> list[str]:
    """Describe the pace of a stage and the time left, as far as they are known."""
    parts = [f"{left.rate:.1f}/s"] if left.rate else []
    if left.whole is not None:
        return [*parts, f"{duration(left.whole)} left{'' if left.is_last else ' in all'}"]
    return [*parts, f"{duration(left.own)} left of this stage"] if left.own is not None else parts


def duration(seconds: float) -> str:
    """Format seconds as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))


def byte_size(count: float) -> str:
    """Format a number of bytes with a unit."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "bytes" else f"{count:.1f} {units[0]}"
