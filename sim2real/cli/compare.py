"""The command ``sim2real compare``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim2real.cli.console import duration, err, interruptible, out, progress
from sim2real.cli.settings import DeviceOption, JsonOption
from sim2real.manual import more
from sim2real.places import command_line

if TYPE_CHECKING:
    from sim2real.comparison import Comparison, Result

_UNITS = {"s": 1, "m": 60, "h": 3600}


def command(
    sim: Annotated[Path, typer.Argument(help="The simulation: a dataset of any layout.")],
    real: Annotated[list[Path], typer.Argument(help="Real images: folders and videos.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; a rerun continues there.")] = Path("compare"),
    recipes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Recipes; default: all without training, see also --budget.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Also train recipes, in this time for all of them: 90s, 10m, 2h."),
    ] = None,
    frames: Annotated[int, typer.Option(min=4, help="Frames of each side to hold out and evaluate.")] = 48,
    camera: Annotated[
        bool, typer.Option("--camera/--no-camera", help="Apply the blur and noise of the real images.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which recipe suits these frames and these photos? Try recipes on held-out frames, and recommend one.

    The table is sorted by the remaining distance to real images: 100 % is the whole distance, 0 % means as close as
    real images are to each other. Labels and artefacts are judged as in `sim2real evaluate`, without a segmenter.
    """
    from sim2real.comparison import CompareOptions, compare

    options = CompareOptions(
        recipes=tuple(recipes.split(",")) if recipes else (),
        budget=_seconds(budget) if budget else 0.0,
        frames=frames,
        camera=camera,
        seed=seed,
        device=device or "auto",
    )
    with interruptible("finished work is kept; the same command continues"), progress("done", stays=False) as show:
        found = compare(sim, real, out, options, progress=show, notify=err.print)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(found), indent=1, default=str))
    else:
        _show(found)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or not float(match[1]):
        raise typer.BadParameter(f"--budget {text}: write a time such as 90s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def _show(found: "Comparison") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe", no_wrap=True)
    for title in ("left", "new edges", "artefacts", "verdict", "training", "a frame"):
        table.add_column(title, justify="left" if title in {"artefacts", "verdict"} else "right")
    for each in found.results:
        style = "bold" if each.recipe == found.take else "dim" if each.verdict in {"FAIL", "none"} else ""
        table.add_row(*_cells(each), style=style)
    camera = ", with the camera of the real images" if found.camera else ""
    out.print(f"{found.frames} held-out frames of {found.sim}{camera}; left: remaining distance to real images")
    out.print(table)
    for each in found.results:
        if each.verdict in {"FAIL", "none"} and each.reasons:
            out.print(f"{each.recipe}: {each.reasons[0]}")
    out.print(f"images: {found.sheet}")
    if not found.take:
        out.print(f"take none: {found.why}{more('which-recipe')}")
        return
    out.print(f"take {found.take}: {found.why}", style="bold")
    settings = ["--set", "camera.match=true"] if found.camera and found.take != "camera" else []
    words = command_line("sim2real", "train", found.sim, *found.real, "--recipe", found.take, *settings)
    out.print(f"next: {words}")


def _cells(result: "Result") -> list[str]:

    if result.verdict == "none":
        return [result.recipe, "", "", "", "not tried", "", ""]
    return [
        result.recipe,
        "" if result.distance is None else f"{result.distance:.0%}",
        f"{result.labels['new_edges']:.1%}" if "new_edges" in result.labels else "",
        ", ".join(result.artefacts) or "none",
        result.verdict,
        duration(result.training_seconds),
        f"{1000 * result.frame_seconds:.0f} ms",
    ]
