"""``sim2real train``."""

from shlex import quote
from typing import Annotated, Any

import typer

from sim2real.cli.settings import (
    DeviceOption,
    PrecisionOption,
    RealArgument,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    SimArgument,
    StepsOption,
    SwapOption,
    resolve_settings,
    resume_settings,
)


def command(
    sim: SimArgument = None,
    real: RealArgument = None,
    run: RunOption = None,
    recipe: RecipeOption = None,
    sets: SetOption = None,
    steps: StepsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the run folder.")] = False,
    seed: SeedOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    swap: SwapOption = None,
) -> None:
    """Learn the look of real images from unpaired folders.

    Settings: the recipe, over it ./sim2real.toml, over it --set, over it the other options.
    """
    from sim2real.cli.console import out
    from sim2real.cli.training_view import run_training
    from sim2real.training import Trainer

    flags: dict[str, Any] = {
        "run": str(run) if run else None,
        "train__steps": steps,
        "seed": seed,
        "device": device,
        "precision": precision,
        "swap": swap,
    }
    config = resolve_settings(sim, real, recipe=recipe, sets=sets, **flags)
    folder = config.run_folder
    if resume:
        config = resume_settings(folder, sim, real, recipe=recipe, sets=sets, **flags)
    trainer = Trainer(config, folder, resume=resume)
    if trainer.finished:
        out.print(f"{folder}: finished already, {trainer.step} steps; --steps makes it longer")
        return
    if code := run_training(trainer):
        raise typer.Exit(code)
    model, source = quote(str(folder)), quote(config.sim)
    out.print(f"trained {trainer.step} steps: {folder}")
    out.print(f"next: sim2real preview {model} {source}\n      sim2real convert {source} OUT --model {model}")
