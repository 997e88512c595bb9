"""The command ``sim2real demo``."""

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sim2real.config import Config

_SETTINGS = """\
# The settings of the demo; run it again with `cd {folder} && sim2real batch`.

recipe = "grid"  # light and colours in one direction: takes half the time of "default"
sim = "sim"  # a toy town with the labels of Virtual KITTI 2
real = "real"  # other streets of the same town, rendered like camera images; no labels
run = "runs/demo"
seed = {seed}
ema_decay = 0.99  # for hundreds of steps instead of thousands

[data]
size = [208, 64]  # whole frames at half size
load_size = [208, 64]
workers = 1
validation = 0.17  # holds out 8 of 48 frames of each side: fewer are not informative

# Small enough to train on a CPU in minutes.
[generator.options]
side = 64

# For a few dozen frames of each side, which the discriminator would otherwise memorise; leave these out for a real
# training.
[method.options]
unevenness = 100.0

[discriminator.regularization]
augment = ["translation", "cutout"]
augment_target = 0.6

[train]
steps = {steps}  # {why}

[camera]
match = true  # frames are as soft and as noisy as the real ones

[[convert]]
source = "sim"
out = "converted"
"""
_SECONDS = 270  # for everything
_STEPS = (150, 400)
_OTHER_WORK = 700  # steps of training that take as long as conversion, evaluation and report
_PROBE_STEPS = 12
_PICTURE = "before_after_real.png"
_SHOWN = (0.1, 0.35, 0.6, 0.85)
_OWN = {"preview.png", "sim", "real", "runs", "converted", "sim2real.toml", _PICTURE}


@dataclass(frozen=True)
class _Scale:
    """The size of the demo."""

    sequences: int
    frames: int
    steps: int | None
    segmenter_steps: int


_SIZE = (416, 128)
_FULL = _Scale(sequences=12, frames=4, steps=None, segmenter_steps=120)
_QUICK = _Scale(sequences=4, frames=2, steps=20, segmenter_steps=0)


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for all results.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Use few frames and steps; gives only an impression.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the town.")] = 0,
) -> None:
    """The whole workflow on a rendered toy town: render, train, convert, verify, evaluate, report.

    A rerun continues where it stopped. The exit code does not depend on the verdict, because the training is short.
    """
    from sim2real.cli.batch import run_batch
    from sim2real.cli.console import duration, err, out
    from sim2real.config import SETTINGS_FILE, read_settings, resolve
    from sim2real.files import write_whole

    begin = time.monotonic()
    scale = _QUICK if quick else _FULL
    _require_town()
    _require_own(folder)
    _require_same(folder / SETTINGS_FILE, seed, quick=quick)
    from sim2real.evaluation.evaluator import EvaluateOptions
    from sim2real.evaluation.metric_selection import USUAL

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        _render(scale, seed)
        settings = Path(SETTINGS_FILE)
        if not settings.is_file():
            steps, why = scale.steps, "for an impression"
            if not steps:
                err.print("measuring the training speed ...")
                steps, seconds = _steps_here(folder, seed, begin)
                why = f"about {duration(seconds)}, measured over {_PROBE_STEPS} steps"
            err.print(f"training for {steps} steps, {why}")
            write_whole(settings, _settings(folder, seed, steps, why).encode())
        config = resolve(file=read_settings(settings))
        enough = tuple(name for name in USUAL if name != "two-sample")  # it needs more frames
        options = EvaluateOptions(metrics=enough, segmenter_steps=scale.segmenter_steps, seed=seed)
        done = run_batch(config, options)["conversions"][0]
        if not done["verified"]:
            raise typer.Exit(1)
        write_whole(Path(_PICTURE), _picture(config))
    out.print(
        f"\ndone in {duration(time.monotonic() - begin)}\n"
        f"  look at     {folder / _PICTURE}  (before | after | a real one)\n"
        f"  converted   {folder / 'converted'}  (same folders, names, sizes and labels as {folder / 'sim'})\n"
        f"  verdict     {done['evaluation']['verdict']} after minutes of training: {done['evaluation']['reasons'][0]}\n"
        f"  report      {folder / done['report']}\n"
        f"  training    {folder / 'runs/demo/report.html'}\n"
        "with your own data:\n"
        "  sim2real inspect path/to/simulation\n"
        "  sim2real init path/to/simulation path/to/real/photos\n"
        "  sim2real batch"
    )


def _require_town() -> None:
    """Refuse to start without the package that renders the town."""
    from importlib.util import find_spec

    from sim2real.errors import Sim2RealError

    if find_spec("sim2real_toytown") is None:
        raise Sim2RealError(
            "sim2real demo renders its frames with the package sim2real-toytown, which is not installed; "
            "install the folder plugins/sim2real-toytown of the project with pip"
        )


def _require_own(folder: Path) -> None:
    """Refuse a folder with files that are not from an earlier demo."""
    from sim2real.errors import Sim2RealError
    from sim2real.inside import inside

    if folder.exists() and not folder.is_dir():
        message = f"{folder}: a file; name a new folder for the demo"
        raise Sim2RealError(message)
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()
    if strangers := sorted(names - _OWN):
        message = f"{folder}: contains other files ({strangers[0]}); name a new folder for the demo"
        raise Sim2RealError(message)
    for name in names:
        inside(folder, name)
    inside(folder, "runs/demo")


def _require_same(settings: Path, seed: int, *, quick: bool) -> None:
    """Refuse to continue a demo that was started with other options."""
    from sim2real.config import read_settings, resolve
    from sim2real.errors import Sim2RealError

    if settings.is_file():
        begun = resolve(file=read_settings(settings))
        places = [begun.sim, begun.real, begun.run, *((each.source, each.out) for each in begun.convert)]
        if places != ["sim", "real", "runs/demo", ("sim", "converted")]:
            raise Sim2RealError(f"{settings}: these are not the folders of a demo; run sim2real batch there")
        if begun.seed != seed or (begun.train.steps == _QUICK.steps) != quick:
            message = f"{settings.parent}: this demo was started with another --seed or --quick; name a new folder"
            raise Sim2RealError(message)


def _render(scale: _Scale, seed: int) -> None:
    """Render both towns, unless an earlier demo has done so."""
    import os

    from sim2real.cli.console import progress
    from sim2real_toytown import render_dataset

    for look, town in (("sim", seed), ("real", seed + 1000)):
        if not Path(look).is_dir():
            with progress("frames") as show:
                render_dataset(
                    Path(look),
                    look=look,
                    frames=scale.frames,
                    sequences=scale.sequences,
                    size=_SIZE,
                    seed=town,
                    cameras=(0,),
                    labels=look == "sim",
                    workers=min(os.cpu_count() or 1, 8),
                    progress=partial(show, f"rendering the {look} town"),
                )


def _settings(folder: Path, seed: int, steps: int, why: str) -> str:
    return _SETTINGS.format(folder=folder, seed=seed, steps=steps, why=why)


def _steps_here(folder: Path, seed: int, begin: float) -> tuple[int, float]:
    """Estimate the number of training steps with which the demo ends in time on this machine, and their duration.

    Both are measured over a few steps, with whatever else is running; what has passed since ``begin`` is counted.
    """
    import tempfile
    import tomllib
    from statistics import mean

    from sim2real.config import resolve
    from sim2real.training import Trainer

    with tempfile.TemporaryDirectory() as scratch:
        config = resolve(file=tomllib.loads(_settings(folder, seed, 2 * _PROBE_STEPS, "")))
        trainer = Trainer.begin(config, Path(scratch) / "probe")
        times: list[float] = []

        def note_time() -> bool:
            times.append(time.monotonic())
            return len(times) == _PROBE_STEPS

        for _ in trainer.train(stop=note_time):
            pass
    seconds = [after - before for before, after in pairwise(times[2:])]
    steps = _affordable(mean(seconds), time.monotonic() - begin)
    return steps, steps * mean(seconds)


def _affordable(step: float, passed: float) -> int:
    """Return the number of steps for which there is time, if each takes ``step`` seconds and ``passed`` are over."""
    return min(max(int((_SECONDS - passed) / step) - _OTHER_WORK, _STEPS[0]), _STEPS[1])


def _picture(config: "Config") -> bytes:
    """Return rows of before | after | a real one, as PNG."""
    from sim2real.contactsheet import contact_sheet
    from sim2real.datasets import open_dataset
    from sim2real.imageio import encode_png, read_rgb

    sim, real = (list(open_dataset(folder).frames()) for folder in (Path(config.sim), *config.real_places))
    converted = Path(config.convert[0].out)
    shown = [frames[round(place * (len(frames) - 1))] for frames in (sim, real) for place in _SHOWN]
    before, others = shown[: len(_SHOWN)], shown[len(_SHOWN) :]
    columns = {
        "before": [frame.load_image() for frame in before],
        "after": [read_rgb(converted / frame.image) for frame in before],
        "a real one": [frame.load_image() for frame in others],
    }
    return encode_png(contact_sheet(columns))
