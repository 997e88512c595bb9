"""The command ``sim2real report``."""

from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.console import byte_size, progress
from sim2real.cli.console import out as console


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|OUT",
            help="The run folder of a finished, running or interrupted training, or a converted dataset.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The HTML file to write; default: RUN/report.html or OUT/.sim2real/report.html."),
    ] = None,
    frame: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="An additional frame to show; repeatable."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="For a conversion: the run of its model; default: looked for under runs/."),
    ] = None,
    real: Annotated[
        bool, typer.Option("--real/--no-real", help="For a conversion: also show some of the real images.")
    ] = True,
    paths: Annotated[
        bool, typer.Option("--paths", help="Show full paths; by default only names, so that a report can be shared.")
    ] = False,
) -> None:
    """Write one HTML file that shows a training or a conversion.

    For a training: samples, scores, losses, notes, settings. For a conversion: the verdict, frames before and after
    with their labels and some real images, metrics, rejected frames, settings. The file is self-contained, works
    offline and also on a phone. Use --no-real if the real images must not be shared.
    """
    from sim2real.report import write_report

    with progress("frames") as show:
        file = write_report(folder, out, frames=frame or (), run=run, real=real, paths=paths, progress=show)
    console.print(f"report of {folder}: {file} ({byte_size(file.stat().st_size)})")
