"""The display of a training on a terminal and in a log."""

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from sim2real.cli.console import byte_size, duration, err, is_live, out, pace
from sim2real.manual import more
from sim2real.places import command_line
from sim2real.stages import Stages

if TYPE_CHECKING:
    from sim2real.training import Trainer, TrainingProgress
    from sim2real.training.validation import Standing

_CODES: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGUSR1"):  # not on Windows; schedulers can send it some time before the end
    _CODES[signal.SIGUSR1] = 143
_LINES = 50  # approximate number of progress lines in a log
_STAGE = "training"
_SILENCE = 30.0  # seconds, at most, without a line

_BLIND = ("default", "grid")  # grid recipes that do not use masks


def run_training(trainer: "Trainer") -> int:
    """Train, show the progress and return the exit code: 0, or 130 or 143 if a signal ended the training after saving.

    With several processes, only the first one prints.
    """
    from sim2real.training import Note

    if trainer.is_first:
        show_start(trainer)
    with stopping(trainer) as stop, _view(trainer) as show:

        def after_step() -> int:
            show.beat(trainer.step, trainer.total)
            return stop.code

        for event in trainer.train(stop=after_step):
            if isinstance(event, Note):
                err.print(f"{event.text}{more(event.topic)}", style="yellow")
            else:
                show.report(event)
    if trainer.stopped and not trainer.finished:
        if trainer.is_first:
            err.print(f"stopped at step {trainer.step} of {trainer.total} and saved; continue with --resume")
        return trainer.stopped
    return 0


def show_end(trainer: "Trainer") -> None:
    """Print the assessment of a training, its length, and the step of its generators."""
    if trainer.is_first:
        show_standing(trainer.standing)
        which = "the last" if trainer.used_step == trainer.step else "the best on held-out images"
        if trainer.peak == trainer.used_step:
            which += "; the score became worse after it"
        out.print(f"trained {trainer.step} steps: {trainer.run.path}")
        out.print(f"its generators are those of step {trainer.used_step}, {which}")
        if trainer.peak not in {0, trainer.used_step}:
            best = ("--resume", "--run", trainer.run.path, "--set", "checkpoint.use=best")
            use = command_line("sim2real", "train", *best)
            print(f"step {trainer.peak} was better on held-out images; to use it: {use}")


def show_standing(standing: "Standing") -> None:
    """Print the assessment of a training and the advice."""
    text = standing.text
    if standing.advice:
        text += f"; next: {standing.advice}{more(standing.topic)}"
    out.print(text, style={"good": "green", "open": "yellow", "bad": "bold red"}[standing.state])


def show_start(trainer: "Trainer") -> None:
    """Print a paragraph on the training that starts."""
    sizes = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in trainer.parameters().items())
    sim, real = trainer.sim, trainer.real
    err.print(
        f"{trainer.config.recipe}: {len(sim.train)} simulated and {len(real.train)} real images to train on, "
        f"{len(sim.held_out)} and {len(real.held_out)} held out; {trainer.total} steps on {trainer.device} in "
        f"{trainer.precision}; {sizes}; into {trainer.run.path}"
    )
    for line in trainer.choices:
        err.print(line)
    if trainer.config.recipe in _BLIND and all("segmentation" in frame.labels for frame in sim.train):
        text = "all simulated frames have masks: --recipe labelled also learns from masks"
        err.print(f"{text}{more('labels-of-the-simulation')}")
    if extracted := [each for origin in real.origins for each in origin.extracted]:
        frames, size = sum(each.frames for each in extracted), byte_size(sum(each.size for each in extracted))
        still = sum(each.still for each in extracted)
        err.print(
            f"{frames} of the real images are frames of videos ({len(extracted)}), {size} in {trainer.run.frames}"
            + (f"; {still} were left out because they hardly differ from the previous one" if still else "")
        )
    if len(real.origins) > 1:
        counts = ", ".join(f"{origin.images} of {origin.path} ({origin.layout})" for origin in real.origins)
        err.print(f"the real images, all with equal weight: {counts}")
    if trainer.step:
        err.print(f"continuing from step {trainer.step}")


class Stop:
    """The exit code that a signal requested; 0 until then."""

    code = 0


@contextmanager
def stopping(trainer: "Trainer") -> Iterator[Stop]:
    """Turn Ctrl-C, SIGTERM or SIGUSR1 into a request to stop after the step; a further Ctrl-C interrupts at once.

    Schedulers and launchers send signals repeatedly, and forward a Ctrl-C that the processes of a training have
    already received from the terminal. With several processes, further signals are therefore ignored.
    """
    stop = Stop()
    alone = trainer.processes.count == 1
    answer = "stopping after this step and saving" + ("; Ctrl-C stops at once\n" if alone else "\n")

    def ask(number: int, _frame: FrameType | None) -> None:
        if not stop.code:
            stop.code = _CODES[number]
            if trainer.is_first:
                with suppress(OSError):  # not the console, which the signal may have interrupted
                    os.write(2, answer.encode())
        elif number == signal.SIGINT and alone:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in _CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _view(trainer: "Trainer") -> "Iterator[_View]":
    if not trainer.is_first:
        yield _View()
    elif is_live():
        with Live("the first steps ...", console=err) as live:
            yield _Panel(live)
    else:
        yield Log()


class _View:
    """A view that shows nothing, for all processes but the first."""

    def report(self, progress: "TrainingProgress") -> None:
        """Show the progress of a training."""

    def beat(self, step: int, total: int) -> None:
        """Note that a step is finished."""


class _Panel(_View):
    """A panel on a terminal, redrawn with each report."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._evaluated: TrainingProgress | None = None

    def report(self, progress: "TrainingProgress") -> None:
        self._evaluated = self._evaluated if progress.score is None else progress
        self._live.update(_panel(progress, self._evaluated))


class Log(_View):
    """Lines of a log: the losses at intervals, and the current step after a longer silence."""

    def __init__(self) -> None:
        self._stages = Stages()
        self._shown = -math.inf
        self._last = time.monotonic()

    def report(self, progress: "TrainingProgress") -> None:
        """Print the report if enough steps have passed since the last one."""
        if progress.step - self._shown >= progress.total / _LINES or progress.step == progress.total:
            self._shown = progress.step
            self._print(_line(progress))

    def beat(self, step: int, total: int) -> None:
        """Print the step and the time left, if nothing was printed for a while."""
        self._stages.note(_STAGE, step, total)
        if time.monotonic() - self._last >= _SILENCE:
            self._print("  ".join([f"step {step}/{total}", *pace(self._stages.left(_STAGE))]))

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        err.print(line)


def _line(progress: "TrainingProgress") -> str:
    figures = {name: figure for name, figure in progress.losses.items() if "/" not in name}
    if progress.score is not None:
        figures["score"] = progress.score
    parts = [
        f"step {progress.step}/{progress.total}",
        f"epoch {progress.epoch:.1f}",
        *(f"{name} {figure:.3f}" for name, figure in figures.items()),
        *_outlook(progress),
    ]
    return "  ".join(parts)


def _panel(progress: "TrainingProgress", evaluated: "TrainingProgress | None") -> Group:
    """Return the latest report with the latest evaluation on held-out images."""
    table = Table("loss", box=None, pad_edge=False, header_style="bold")
    table.add_column("training", justify="right")
    table.add_column(f"held out, step {evaluated.step}" if evaluated else "held out", justify="right")
    found = {name: f"{figure:.3f}" for name, figure in (evaluated.losses if evaluated else {}).items()}
    for name, loss in progress.losses.items():
        if "/" not in name:
            table.add_row(name, f"{loss:.3f}", found.get(f"validation/{name}", ""))
    for name, figure in found.items():
        if name.startswith("evaluation/") and name != "evaluation/images":
            table.add_row(name.removeprefix("evaluation/"), "", figure)
    parts = [
        f"step {progress.step} of {progress.total}",
        f"epoch {progress.epoch:.1f}",
        *_outlook(progress),
        byte_size(progress.memory),
    ]
    bar = ProgressBar(total=progress.total, completed=progress.step, finished_style="bar.complete")  # not green yet
    return Group(table, "   ".join(parts), bar)


def _outlook(progress: "TrainingProgress") -> list[str]:
    """Describe the best score so far, the pace and the time left."""
    best = [f"best score {progress.best[0]:.3f} at step {progress.best[1]}"] if progress.best else []
    return [*best, f"{progress.images_per_second:.1f} images/s", f"{duration(progress.seconds_left)} left"]
