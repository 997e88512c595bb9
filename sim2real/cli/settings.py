"""Command-line options for settings, shared by several commands."""

import os
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim2real.config import Config
    from sim2real.datasets.video import Extraction

_OF_VIDEOS: Final = ("video_every", "video_frames", "video_change")


class Direction(StrEnum):
    """Which of a run's two generators to use."""

    sim2real = "sim2real"
    real2sim = "real2sim"


def count_of(text: str) -> int:
    """Parse a whole number of at least 1, such as ``20000``, ``20k`` or ``1e4``.

    Raises:
        BadParameter: If the text is not such a number.
    """
    from sim2real.config import parse_count

    try:
        number = parse_count(text)
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' {error}") from error
    if number < 1:
        raise typer.BadParameter(f"'{text}' must be at least 1")
    return number


def size_of(text: str, option: str, *, square: bool = True) -> tuple[int, int]:
    """Parse a width and a height in pixels.

    Args:
        text: The value that the user entered.
        option: Name of the option, for messages.
        square: Whether a single number is accepted for both sides.

    Raises:
        BadParameter: If the text is not a valid size.
    """
    from sim2real.config import parse_sides, parse_size

    with suppress(ValueError):
        size: Any = (parse_size if square else parse_sides)(text)
        width, height = size
        if width and height:
            return width, height
    words = "write width and height in pixels, for example 640x192" + (", or 256 for a square" if square else "")
    raise typer.BadParameter(f"'{text}': {words}", param_hint=option)


SimArgument = Annotated[Path | None, typer.Argument(help="Simulated images: a dataset of any known layout.")]
RealArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Real images: folders and videos. A CycleGAN folder given as SIM contains both sides."),
]
RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; default: runs/<recipe>.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Settings to start from, see `sim2real recipes`; labelled if SIM has masks, else default.",
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="RUN|FILE", help="Start with the generators of a run or of another program."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, by its dotted key; repeatable.")
]
StepsOption = Annotated[
    int | None,
    typer.Option("--steps", parser=count_of, metavar="N", help="Number of training steps: 20000, 20k, 1e4."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all random numbers.")]
AsImageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--as-image",
        metavar="GLOB",
        help="Treat these files as camera images, even if names or pixels suggest labels; repeatable.",
    ),
]
ModelArgument = Annotated[Path, typer.Argument(help="Run folder or .safetensors file.")]
DirectionOption = Annotated[Direction | None, typer.Option("--direction", help="Which generator of the run to use.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Layout, see `sim2real datasets`; detected by default.")
]
CameraOption = Annotated[
    Literal["match", "off"] | None,
    typer.Option(
        "--camera",
        help="match: add the model's camera blur and noise; off: add none; default: match if the model has a camera.",
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:0 or mps.")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
DeterministicOption = Annotated[
    bool | None,
    typer.Option("--deterministic", help="Make runs with the same seed equal bit for bit, at some cost in speed."),
]
VideoEveryOption = Annotated[
    float | None,
    typer.Option(
        "--video-every",
        metavar="SECONDS",
        help="Seconds between the frames of videos; default: as data.video_every in sim2real.toml or the run, or 1.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SwapOption = Annotated[
    bool | None, typer.Option("--swap/--no-swap", help="Use B of a CycleGAN folder as simulation, A as real side.")
]


def settings_here() -> dict[str, Any]:
    """Return the settings in the sim2real.toml of the current folder; empty if there is none."""
    from sim2real.config import SETTINGS_FILE, read_settings

    path = Path(SETTINGS_FILE)
    return read_settings(path) if os.path.lexists(path) else {}


def config_here() -> "Config":
    """Return all settings with those of the sim2real.toml of the current folder.

    Raises:
        Sim2RealError: If a setting is invalid.
    """
    from sim2real.config import resolve

    return resolve(file=settings_here())


def extraction_here(every: float | None, run: "Mapping[str, Any] | None" = None) -> "Extraction":
    """Return which frames of videos to take: by the option, else sim2real.toml, else a run, else the defaults.

    Args:
        every: The value of ``--video-every``.
        run: Settings of a run.

    Raises:
        Sim2RealError: If a setting is invalid.
    """
    from sim2real.config import resolve
    from sim2real.datasets.video import Extraction

    trained, here = (run or {}).get("data", {}), settings_here()
    used = {f"data.{key}": trained[key] for key in _OF_VIDEOS if key in trained and key not in here.get("data", {})}
    return Extraction.of(resolve(file=here, settings=used, data__video_every=every).data)


def training_settings(
    sim: Path | None,
    real: list[Path] | None,
    run: Path | None,
    steps: int | None,
    *,
    start: Path | None = None,
    **others: object,
) -> dict[str, Any]:
    """Return the settings that the arguments and options of a training stand for, by their keys."""
    from sim2real.training.begin import sides

    places = {"run": str(run) if run else None, "start_from": str(start) if start else None}
    return {**sides(sim, real or []), **places, "train__steps": steps, **others}
