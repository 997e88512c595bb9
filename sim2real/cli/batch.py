"""``sim2real batch``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.settings import (
    DeterministicOption,
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

if TYPE_CHECKING:
    from sim2real.config import Config


def command(
    sim: SimArgument = None,
    real: RealArgument = None,
    converted: Annotated[Path | None, typer.Argument(metavar="[OUT]", help="Where the converted SIM goes.")] = None,
    run: RunOption = None,
    recipe: RecipeOption = None,
    sets: SetOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    deterministic: DeterministicOption = None,
    swap: SwapOption = None,
) -> None:
    """The whole job: train, convert every listed dataset, verify it. A rerun continues where it stopped.

    Without SIM REAL OUT, ./sim2real.toml says what to train on and what to convert.
    """
    flags: dict[str, Any] = {
        "run": str(run) if run else None,
        "train__steps": steps,
        "seed": seed,
        "device": device,
        "precision": precision,
        "deterministic": deterministic,
        "swap": swap,
        "convert": [{"source": str(sim), "out": str(converted)}] if sim and converted else None,
    }
    config = resolve_settings(sim, real, recipe=recipe, sets=sets, **flags)
    if (config.run_folder / "config.toml").is_file():
        config = resume_settings(config.run_folder, sim, real, recipe=recipe, sets=sets, **flags)
    run_batch(config)


def run_batch(config: "Config") -> dict[str, Any]:
    """Train, convert, verify; what is done already is not done again. Leaves ``batch.json`` in the run folder.

    Returns:
        What ``batch.json`` says.

    Raises:
        Sim2RealError: The settings name nothing to convert, or a step of the job fails.
        Exit: The training was told to stop (130, 143), or a conversion does not pass (1).
    """
    import json

    from sim2real.files import write_whole

    _check_conversions(config)
    report: dict[str, Any] = {"run": str(config.run_folder), "steps": _train(config), "conversions": []}
    for conversion in _convert_all(config):
        report["conversions"].append(conversion)
        write_whole(config.run_folder / "batch.json", (json.dumps(report, indent=2) + "\n").encode())
    if not all(conversion["verified"] for conversion in report["conversions"]):
        raise typer.Exit(1)
    return report


def _check_conversions(config: "Config") -> None:
    """What would stop a conversion is told before hours of training."""
    from sim2real.conversion.plan import check_places
    from sim2real.datasets import open_dataset
    from sim2real.errors import SettingsError

    if not config.convert:
        raise SettingsError("nothing to convert: give SIM REAL OUT, or add a [[convert]] table to sim2real.toml")
    for section in config.convert:
        check_places(Path(section.source), Path(section.out))
        open_dataset(section.source, section.dataset)


def _train(config: "Config") -> int:
    """Train to the end, or what is left of it; returns the steps."""
    from sim2real.cli.settings import refuse_changes
    from sim2real.cli.training_view import run_training, show_end
    from sim2real.training import Trainer

    folder = config.run_folder
    begun = (folder / "config.toml").is_file()
    if begun:
        refuse_changes(folder, config)
    trainer = Trainer(config, folder, resume=begun)
    if not trainer.finished and (code := run_training(trainer)):
        raise typer.Exit(code)
    show_end(trainer)
    return trainer.step


def _convert_all(config: "Config") -> Iterator[dict[str, Any]]:
    from sim2real.cli.console import err, progress
    from sim2real.cli.convert import options_of, show_sizes, show_summary
    from sim2real.cli.verify import show_report
    from sim2real.conversion import ConvertOptions, convert, verify

    common = ConvertOptions(model=config.run_folder, device=config.device, precision=config.precision)
    for section in config.convert:
        with progress() as show:
            source, out = Path(section.source), Path(section.out)
            summary = convert(source, out, options_of(section, common), show, announce=show_sizes, tell=err.print)
        show_summary(summary)
        with progress() as show:
            report = verify(summary.out, Path(section.source), progress=show)
        show_report(report)
        yield {
            "source": section.source,
            "out": section.out,
            "model": str(summary.model),
            "converted": summary.converted,
            "carried": summary.carried,
            "done_before": summary.skipped,
            "files": report.files,
            "verified": report.ok,
            "problems": [f"{problem.kind}: {problem.path}: {problem.detail}" for problem in report.problems],
        }
