"""The command ``sim2real train``."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sim2real.cli.console import byte_size, duration, err, out, progress
from sim2real.cli.settings import (
    DeterministicOption,
    DeviceOption,
    FromOption,
    PrecisionOption,
    RealArgument,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    SimArgument,
    StepsOption,
    SwapOption,
    settings_here,
    training_settings,
)
from sim2real.cli.training_view import run_training, show_end, show_standing
from sim2real.manual import more
from sim2real.places import command_line

if TYPE_CHECKING:
    from sim2real.config import Config


def command(
    sim: SimArgument = None,
    real: RealArgument = None,
    run: RunOption = None,
    recipe: RecipeOption = None,
    start: FromOption = None,
    sets: SetOption = None,
    steps: StepsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    seed: SeedOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    deterministic: DeterministicOption = None,
    swap: SwapOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory and time from a few steps; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Learn the appearance of real images from unpaired folders and videos.

    Settings, in order of increasing priority: the recipe, ./sim2real.toml, --set, the other options.
    """
    from sim2real.training.begin import prepare

    if (as_json and not plan) or (plan and resume):
        raise typer.BadParameter("--json requires --plan, and --plan cannot be combined with --resume")
    chosen: list[str] = []
    flags = training_settings(
        sim,
        real,
        run,
        steps,
        start=start,
        seed=seed,
        device=device,
        precision=precision,
        deterministic=deterministic,
        swap=swap,
    )
    config = prepare(recipe, settings_here(), sets or [], resume=resume, notify=chosen.append, **flags)
    if plan:
        _show_plan(config, as_json=as_json)
        return
    from sim2real.training import Trainer

    with progress("seconds of video") as show:
        trainer = (Trainer.resume if resume else Trainer.begin)(config, config.run_folder, extraction=show)
    if trainer.is_first and chosen:
        err.print(chosen[0])
    if trainer.finished:
        if trainer.is_first:
            show_standing(trainer.standing)
            out.print(f"{config.run_folder}: already finished, {trainer.step} steps; use --steps to extend it")
        return
    if code := run_training(trainer):
        raise typer.Exit(code)
    show_end(trainer)
    if trainer.is_first:
        out.print(f"next: {command_line('sim2real', 'preview', config.run_folder, config.sim)}")
        out.print(f"      {command_line('sim2real', 'convert', config.sim, 'OUT', '--model', config.run_folder)}")


def _show_plan(config: "Config", *, as_json: bool) -> None:
    from sim2real.training.forecast import forecast

    with progress("seconds of video") as show:
        found = forecast(config, extraction=show)
    if as_json:
        print(json.dumps({**asdict(found), "seconds": found.seconds}, indent=2))
        return
    sim, real = found.images["sim"], found.images["real"]
    epochs = found.steps / found.steps_per_epoch
    rows = {
        "images": f"{sim['train']:,} simulated and {real['train']:,} real to train on, "
        f"{sim['held_out']:,} and {real['held_out']:,} held out",
        **{
            name: f"{found.components.get(name, 'further network')}, {count:,} parameters"
            for name, count in found.parameters.items()
        },
        "steps": f"{found.steps:,}, {found.steps_per_epoch:,} an epoch: {epochs:.1f} epochs",
        "memory": f"about {byte_size(found.memory)} of {byte_size(found.memory_free)} that are free",
        "time": f"about {duration(found.seconds)}: {found.seconds_per_step:.3g} s a step, "
        f"{found.images_per_second:.3g} images/s, limited by {found.limit}"
        f"{more('steps-wait-for-decoding' if found.waits else None)}",
    }
    out.print(f"{config.recipe} on {found.device} in {found.precision}, into {config.run_folder}")
    for name, text in rows.items():
        out.print(f"{name:<10}  {text}")
