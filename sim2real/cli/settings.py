"""The options that name settings, shared by the commands that train."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sim2real.config import Config


def count_of(text: str) -> int:
    """A whole number of at least 1, as people write it.

    Raises:
        BadParameter: It is none.
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
    """Width and height in pixels, as people write them.

    Args:
        text: What the user writes.
        option: Of which option.
        square: Whether a single number stands for both.

    Raises:
        BadParameter: They are none.
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
    typer.Argument(help="Real images: folders and videos. One CycleGAN folder may stand for both sides."),
]
RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; runs/<recipe> if left out.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Settings to start from, see `sim2real recipes`; left out: labelled if SIM has masks, else default.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its dotted key; may be repeated.")
]
StepsOption = Annotated[
    int | None,
    typer.Option("--steps", parser=count_of, metavar="N", help="Length of the training: 20000, 20k, 1e4."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Decides everything that is random.")]
AsImageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--as-image",
        metavar="GLOB",
        help="These images are a camera's, though names or pixels tell of labels; may be repeated.",
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:0 or mps.")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
DeterministicOption = Annotated[
    bool | None,
    typer.Option("--deterministic", help="Two runs with one seed are equal bit for bit, at some cost in speed."),
]
SwapOption = Annotated[
    bool | None, typer.Option("--swap/--no-swap", help="In a CycleGAN folder take B as the simulation and A as real.")
]


def settings_here() -> dict[str, Any]:
    """What the sim2real.toml of the current folder says; nothing where there is none."""
    from sim2real.config import SETTINGS_FILE, read_settings

    path = Path(SETTINGS_FILE)
    return read_settings(path) if os.path.lexists(path) else {}


def resolve_settings(
    sim: Path | None = None,
    real: list[Path] | None = None,
    *,
    recipe: str | None,
    sets: list[str] | None,
    **flags: object,
) -> "Config":
    """The settings of a new training: recipe, sim2real.toml, --set, flags.

    Raises:
        Sim2RealError: A setting is wrong.
    """
    from sim2real.config import resolve
    from sim2real.training.begin import sides

    return resolve(recipe, settings_here(), sets or [], None, None, **sides(sim, real or []), **flags)


def resume_settings(
    folder: Path,
    sim: Path | None,
    real: list[Path] | None,
    *,
    recipe: str | None,
    sets: list[str] | None,
    **flags: object,
) -> "Config":
    """The settings of a run that goes on: its own, and of what is named now only what a run may change.

    Raises:
        Sim2RealError: There is no run in the folder, or a setting differs that it may not change.
    """
    from sim2real.training.begin import resumed, sides

    return resumed(folder, recipe, settings_here(), sets or [], None, **sides(sim, real or []), **flags)
