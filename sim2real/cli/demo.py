"""``sim2real demo``."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sim2real.config import Config

_SETTINGS = """\
# The demo's settings; `cd {folder} && sim2real batch` does its job again.

recipe = "default"
sim = "sim"  # a toy town with the labels of Virtual KITTI 2
real = "real"  # other streets of the same town as a camera would see them; no labels
run = "runs/demo"

[data]
size = [256, 128]
workers = 1

# Small enough for a CPU.
[generator.options]
width = 16
blocks = 4

[discriminator.options]
width = 24

[optim]
generator_lr = 4e-4
discriminator_lr = 4e-4

[train]
steps = {steps}  # {why}

[[convert]]
source = "sim"
out = "converted"
"""
_SECONDS = 170
_STEPS = (60, 2000)
_PROBE_STEPS = 8


@dataclass(frozen=True)
class _Scale:
    """How much the demo does."""

    frames: int
    size: tuple[int, int]
    steps: int | None


_FULL = _Scale(frames=48, size=(416, 128), steps=None)
_QUICK = _Scale(frames=10, size=(416, 128), steps=30)


def command(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where everything goes.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute instead of five; only a hint of the result.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which town.")] = 0,
) -> None:
    """The whole story on a rendered toy town: render, train, convert, verify. A rerun continues where it stopped."""
    from sim2real.cli.batch import run_batch
    from sim2real.cli.console import duration, err, out
    from sim2real.config import SETTINGS_FILE, read_settings, resolve

    begin = time.monotonic()
    scale = _QUICK if quick else _FULL
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        _render(scale, seed)
        if not Path(SETTINGS_FILE).is_file():
            steps = scale.steps or _steps_here(folder, seed)
            Path(SETTINGS_FILE).write_text(_settings(folder, steps), encoding="utf-8")
        config = resolve(file=read_settings(Path(SETTINGS_FILE)), seed=seed)
        err.print(f"training: about {duration(_SECONDS)}" if not quick else "training: a few steps")
        run_batch(config)
        picture = _picture(config)
    out.print(
        f"\ndone in {duration(time.monotonic() - begin)}\n"
        f"  look at     {folder / picture}  (before | after | a real one)\n"
        f"  converted   {folder / 'converted'}  (same tree, names, sizes and labels as {folder / 'sim'})\n"
        f"  training    {folder / 'runs/demo/samples'}\n"
        "now with your own data:\n"
        "  sim2real inspect path/to/simulation\n"
        "  sim2real init path/to/simulation path/to/real/photos\n"
        "  sim2real batch"
    )


def _render(scale: _Scale, seed: int) -> None:
    """Both towns, each whole or not at all."""
    import shutil

    from sim2real.cli.console import progress
    from sim2real.toytown import render_dataset

    for look, town in (("sim", seed), ("real", seed + 1000)):
        if Path(look).is_dir():
            continue
        partial = Path(f".{look}.tmp")
        shutil.rmtree(partial, ignore_errors=True)
        with progress("frames") as show:
            render_dataset(
                partial,
                look=look,
                frames=scale.frames,
                size=scale.size,
                seed=town,
                cameras=(0,),
                labels=look == "sim",
                progress=lambda done, total, look=look: show(f"rendering the {look} town", done, total),  # type: ignore[misc]  # mypy does not see the default
            )
        partial.rename(look)


def _settings(folder: Path, steps: int, why: str = "about three minutes on the machine that wrote this") -> str:
    return _SETTINGS.format(folder=folder, steps=steps, why=why)


def _steps_here(folder: Path, seed: int) -> int:
    """How many steps this machine trains in about three minutes, from a few of them."""
    import tempfile
    import tomllib

    from sim2real.config import resolve
    from sim2real.training import Trainer

    with tempfile.TemporaryDirectory() as scratch:
        config = resolve(file=tomllib.loads(_settings(folder, _PROBE_STEPS)), sets=["log.every=0"], seed=seed)
        trainer = Trainer(config, Path(scratch) / "probe")
        times: list[float] = []

        def note_time() -> bool:
            times.append(time.monotonic())
            return len(times) == _PROBE_STEPS // 2

        for _ in trainer.train(stop=note_time):
            pass
    seconds = (times[-1] - times[1]) / (len(times) - 2)
    return min(max(int(_SECONDS / seconds), _STEPS[0]), _STEPS[1])


def _picture(config: "Config") -> Path:
    """Rows of before | after | a real one."""
    from sim2real.contactsheet import contact_sheet
    from sim2real.datasets import open_dataset
    from sim2real.files import write_whole
    from sim2real.imageio import encode_png, read_rgb

    sim, real = (list(open_dataset(folder).frames()) for folder in (config.sim, config.real))
    converted = Path(config.convert[0].out)
    shown = [frames[round(place * (len(frames) - 1))] for frames in (sim, real) for place in (0.1, 0.5, 0.9)]
    columns = {
        "before": [frame.load_image() for frame in shown[:3]],
        "after": [read_rgb(converted / frame.image) for frame in shown[:3]],
        "a real one": [frame.load_image() for frame in shown[3:]],
    }
    path = Path("before_after_real.png")
    write_whole(path, encode_png(contact_sheet(columns)))
    return path
