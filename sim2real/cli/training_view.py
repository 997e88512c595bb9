"""How a training looks on a terminal, and in a log."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from sim2real.cli.console import duration, err, is_live

if TYPE_CHECKING:
    from sim2real.training import Progress, Trainer

_LINES = 50  # a log gets about so many lines of a training, besides the first ones


def run_training(trainer: "Trainer") -> int:
    """Train and show it; returns the exit code: 0, or 130 or 143 when a signal ended it after saving."""
    from sim2real.training import Note

    show_start(trainer)
    with stopping() as stop, _view() as show:
        for event in trainer.train(stop=lambda: stop.code != 0):
            if isinstance(event, Note):
                err.print(event.text, style="yellow")
            else:
                show(event)
    if stop.code and not trainer.finished:
        err.print(f"stopped at step {trainer.step} of {trainer.total} and saved; go on with --resume")
        return stop.code
    return 0


def show_start(trainer: "Trainer") -> None:
    """One paragraph on what will be trained."""
    sizes = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in trainer.parameters().items())
    sim, real = trainer.sim, trainer.real
    err.print(
        f"{trainer.config.recipe}: {len(sim.train)} simulated and {len(real.train)} real images to train on, "
        f"{len(sim.held_out)} and {len(real.held_out)} held out; {trainer.total} steps on {trainer.device} in "
        f"{trainer.precision}; {sizes}; into {trainer.run.path}"
    )
    if trainer.step:
        err.print(f"continuing from step {trainer.step}")


class Stop:
    """The exit code that a signal asked for; 0 until then."""

    code = 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step; a second one interrupts at once."""
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.code = 128 + number
        signal.signal(number, before[signal.Signals(number)])
        with suppress(OSError):  # not through the console, which the signal may have caught in the middle of a line
            os.write(2, b"stopping after this step and saving; once more to give up\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _view() -> "Iterator[Callable[[Progress], None]]":
    if not is_live():
        shown = -math.inf

        def line(progress: "Progress") -> None:
            nonlocal shown
            if progress.step - shown >= progress.total / _LINES or progress.step == progress.total:
                shown = progress.step
                err.print(_line(progress))

        yield line
        return
    with Live("the first steps ...", console=err) as live:
        yield lambda progress: live.update(_panel(progress))


def _line(progress: "Progress") -> str:
    losses = "  ".join(f"{name} {loss:.3f}" for name, loss in progress.losses.items() if "/" not in name)
    return (
        f"step {progress.step}/{progress.total}  epoch {progress.epoch:.1f}  {losses}  "
        f"{progress.images_per_second:.1f} images/s  {duration(progress.seconds_left)} left"
    )


def _panel(progress: "Progress") -> Group:
    table = Table("loss", box=None, pad_edge=False, header_style="bold")
    table.add_column("training", justify="right")
    table.add_column("held out", justify="right")
    for name, loss in progress.losses.items():
        if "/" not in name:
            held_out = progress.losses.get(f"validation/{name}")
            table.add_row(name, f"{loss:.3f}", "" if held_out is None else f"{held_out:.3f}")
    status = (
        f"step {progress.step} of {progress.total}   epoch {progress.epoch:.1f}   "
        f"{progress.images_per_second:.1f} images/s   {duration(progress.seconds_left)} left"
    )
    return Group(table, status, ProgressBar(total=progress.total, completed=progress.step))
